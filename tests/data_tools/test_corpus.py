"""Corpus files: what is shipped reads, and what is wrong is said with file, line and the way out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clapas.recipe.errors import UserError
from clapas.recipe.listing import list_recipes
from clapas_data.corpus import read_corpus

UNPINNED = {"croissant-fr": ["croissant"], "gallica": ["books", "newspapers"], "hplt-fr": ["web"]}
"""Corpora of the catalogue whose commit nobody here could look up -> their sources."""
CATALOGUE = sorted(row["name"] for row in list_recipes() if row["kind"] == "corpus")


@pytest.mark.parametrize("name", ["demo", "test", "bench"])
def test_shipped_corpora_are_pinned(name: str) -> None:
    """Every shipped source has a licence and an exact version with its hash."""
    corpus = read_corpus(name)
    assert corpus.name == name
    for source in corpus.sources.values():
        assert source.licence
        assert source.sha256
        assert source.pinned


def test_demo_holds_out_a_whole_code() -> None:
    """The demo's evaluation text is a code of law, and near-copies of it are left out of training."""
    corpus = read_corpus("demo")
    assert [choice.files for choice in corpus.held_out] == ["*LEGITEXT000031366350.json"]
    assert corpus.decontaminate is not None
    assert (corpus.decontaminate.words, corpus.decontaminate.threshold) == (5, 0.3)


WRONG = {
    "licenc: x": ("made.yaml:5", "did you mean sources.a.licence?"),
    "files: a.jsonl": ("made.yaml:3", "exactly one of folder, files, datasets, megatron, npm, debian"),
    "extract: legi": ("made.yaml:3", "reads whole files"),
    "weight: -1": ("made.yaml:5", "greater than 0"),
    "contains: health": ("made.yaml:5", "found 'health'; input should be a list: [health]"),
    "files: []": ("made.yaml:5", "at least 1"),
}


@pytest.mark.parametrize("line", WRONG)
def test_mistakes_are_placed(line: str, tmp_path: Path) -> None:
    """A mistake is told with its file and line, and with what is allowed."""
    where, wanted = WRONG[line]
    kind = "folder: texts" if "files" in line else "files: b.jsonl"
    path = tmp_path / "made.yaml"
    path.write_text(f"name: made\nsources:\n  a:\n    {kind}\n    {line}\n    licence: x\n")
    with pytest.raises(UserError) as error:
        read_corpus(path)
    assert where in str(error.value)
    assert wanted in str(error.value)


def test_held_out_names_a_known_source(tmp_path: Path) -> None:
    """Holding out from a misspelt source would hold out nothing: it is refused."""
    path = tmp_path / "made.yaml"
    text = "name: made\nsources:\n  a:\n    files: a.jsonl\n    licence: x\nheld_out:\n  - {source: b, fraction: 0.1}\n"
    path.write_text(text)
    with pytest.raises(UserError, match="this corpus has a"):
        read_corpus(path)


def test_a_data_set_is_pinned(tmp_path: Path) -> None:
    """A data set of the Hub needs a revision; a local folder, wherever the command is run, does not."""
    path = tmp_path / "made.yaml"
    path.write_text("name: made\nsources:\n  a:\n    datasets: wikimedia/wikipedia\n    licence: x\n")
    with pytest.raises(UserError, match=r"made\.yaml: sources\.a: .*needs `revision`"):
        read_corpus(path)
    (tmp_path / "wikimedia" / "wikipedia").mkdir(parents=True)
    assert read_corpus(path).sources["a"].datasets == str(tmp_path / "wikimedia" / "wikipedia")


def test_all_sources_are_weighed_or_none(tmp_path: Path) -> None:
    """A weight means nothing beside a source that has none."""
    path = tmp_path / "made.yaml"
    source = "{files: a.jsonl, licence: x%s}"
    for first, second, good in ((", weight: 2", ", weight: 0.5", True), ("", "", True), (", weight: 2", "", False)):
        path.write_text(f"name: made\nsources:\n  a: {source % first}\n  b: {source % second}\n")
        if good:
            read_corpus(path)
        else:
            with pytest.raises(UserError, match="no weight for b"):
                read_corpus(path)


def test_missing_file(tmp_path: Path) -> None:
    """A missing corpus file is named, with the shipped ones."""
    with pytest.raises(UserError, match="no such corpus file"):
        read_corpus(tmp_path / "none.yaml")
    with pytest.raises(UserError, match=r"bench, .*demo, .*french, .*test, .*wikipedia-fr"):
        read_corpus("nonesuch")


def test_paths_are_the_corpus_files_own(tmp_path: Path) -> None:
    """Relative paths mean the same from any working directory."""
    path = tmp_path / "made.yaml"
    path.write_text("name: made\nsources:\n  a:\n    folder: texts\n    licence: x\n")
    assert read_corpus(path).sources["a"].folder == tmp_path / "texts"


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_catalogue(name: str) -> None:
    """Each corpus says of each source its licence, address and revision; one without a commit is refused with the way
    to give it, and reads once it is given."""
    overrides = []
    if name in UNPINNED:
        with pytest.raises(
            UserError, match=rf"{name}\.yaml: sources\.{UNPINNED[name][0]}: (.|\n)*revision=COMMIT"
        ) as error:
            read_corpus(name)
        assert all(f"sources.{source}:" in str(error.value) for source in UNPINNED[name])
        overrides = [f"sources.{source}.revision={'a' * 40}" for source in UNPINNED[name]]
    corpus = read_corpus(name, overrides)
    assert corpus.name == name
    for source in corpus.sources.values():
        assert source.url
        assert source.licence != "unknown" or "unknown-licence" in source.caveats
        assert ("non-commercial" in source.caveats) == ("-NC-" in source.licence)
        if source.datasets:
            assert re.fullmatch("[0-9a-f]{40}", source.revision or "")
            assert source.streaming


def test_overrides(tmp_path: Path) -> None:
    """Of the command line: typed and checked as the file is, said to be the command line's where they are wrong."""
    path = tmp_path / "made.yaml"
    path.write_text("name: made\nsources:\n  a:\n    files: a.jsonl\n    licence: x\n")
    source = read_corpus(path, ["sources.a.text=body", "sources.a.files=b.jsonl"]).sources["a"]
    assert (source.text, source.files) == ("body", (str(tmp_path / "b.jsonl"),))
    with pytest.raises(UserError, match=r"command line.*sources\.a\.txt(.|\n)*did you mean"):
        read_corpus(path, ["sources.a.txt=body"])
