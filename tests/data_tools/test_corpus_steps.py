"""A corpus file's steps from end to end: what each source goes through, what the manifest says, what is redone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from clapas.recipe.errors import UserError
from clapas_data.build import build
from clapas_data.corpus import read_corpus
from clapas_data.manifest import Manifest, open_manifest
from clapas_data.step_record import StepRecord

INSULTS = "Ferme ta gueule, connard, abruti ! Va crever, sale ordure."
QUESTION = "Quel est le délai dans lequel le salarié peut contester le reçu pour solde de tout compte ?"
MOJIBAKE = "L'Ã©tÃ© Ã\u00a0 la plage, numÃ©ro"
CORPUS = """\
name: made
sources:
  forum:
    files: forum.jsonl
    licence: x
    steps:
      words: {distinct: 3}
      opt_out: {ids: lists/none.txt}
  law:
    files: law.jsonl
    licence: x
    steps:
      words: false
steps:
  - repair
  - opt_out: {ids: lists/ids.txt}
  - words
  - decontaminate.evaluations:
      sets:
        quiz: {files: lists/quiz.jsonl, fields: [question]}
  - deduplicate.exact
"""


@pytest.fixture
def folder(tmp_path: Path, fresh_cache: Path) -> Path:
    """Two sources of the same texts, and the lists that the steps read."""
    texts = [INSULTS, f"Bonjour. {QUESTION} Merci.", MOJIBAKE, *(f"Message numéro {place}." for place in range(40))]
    for name in ("forum", "law"):
        rows = [{"id": f"{name}/{place}", "text": f"{text} ({name} {place})"} for place, text in enumerate(texts)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "ids.txt").write_text("law/7\nforum/7\nforum/8\n")
    (tmp_path / "lists" / "none.txt").write_text("forum/9\n")
    (tmp_path / "lists" / "quiz.jsonl").write_text(json.dumps({"question": QUESTION}))
    (tmp_path / "made.yaml").write_text(CORPUS)
    return tmp_path


@pytest.fixture
def built(folder: Path, test_data: Path) -> Callable[..., Manifest]:
    """Build the corpus with some lines of its file changed."""

    def make(out: str, *changes: tuple[str, str], workers: int = 1) -> Manifest:
        text = CORPUS
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (folder / "made.yaml").write_text(text)
        build(folder / "made.yaml", folder / out, tokenizer=test_data / "tokenizer", workers=workers)
        return open_manifest(folder / out)

    return make


def record(manifest: Manifest, name: str) -> StepRecord:
    return next(step for step in manifest.steps if step.name == name)


def reasons(manifest: Manifest, name: str) -> dict[str, dict[str, int]]:
    return {source: dict(totals.reasons) for source, totals in record(manifest, name).sources.items()}


def test_a_manifest_says_what_each_source_went_through(built: Callable[..., Manifest], folder: Path) -> None:
    """Reasons by source, options with the hashes of the lists, and nothing of where they lie; with 1 and 2 workers."""
    manifest = built("one")
    assert reasons(manifest, "words") == {"forum": {"toxicity": 1}}  # law goes without
    assert reasons(manifest, "opt_out") == {"forum": {"id": 1}, "law": {"id": 1}}  # forum has its own list
    assert reasons(manifest, "decontaminate.evaluations") == {"forum": {"quiz": 1}, "law": {"quiz": 1}}
    assert record(manifest, "decontaminate.evaluations").counts["quiz"] == 2 * 5  # a question of 17 words
    assert record(manifest, "repair").sources["law"].changed == 1
    words = record(manifest, "words")
    assert (words.options["distinct"], words.changed_options["forum"]["distinct"]) == (2, 3)
    assert (words.documents_in, words.documents_out) == (42, 41)
    opt_out = record(manifest, "opt_out")
    assert opt_out.options["ids"] != opt_out.changed_options["forum"]["ids"]
    names = [step.name for step in manifest.steps]
    across = [place for place, name in enumerate(names) if name.startswith("deduplicate")]
    assert names.index("repair") < names.index("opt_out") < names.index("words") < min(across)
    assert "/lists/" not in (folder / "one" / "manifest.json").read_text()
    os.environ["CLAPAS_CACHE"] = str(folder / "cache2")  # put back by fresh_cache
    built("two", workers=2)
    assert contents(folder / "one") == contents(folder / "two")


def contents(folder: Path) -> dict[str, bytes]:
    """A build's files, but for the seconds in its manifest."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    manifest = json.loads((folder / "manifest.json").read_text())
    for step in manifest["steps"]:
        step["seconds"] = 0
    whole = {name: path.read_bytes() for name, path in files.items()}
    return {**whole, "manifest.json": json.dumps(manifest).encode()}


def test_only_what_changed_is_done_again(built: Callable[..., Manifest], folder: Path) -> None:
    """Another option for one source leaves the other's text in the cache: its file is spoilt, and nobody notices.

    So does a list that is moved; one whose content changed does not.
    """
    built("first")
    path = folder / "law.jsonl"
    times, size = path.stat(), path.stat().st_size
    path.write_bytes(b"x" * size)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    manifest = built("second", ("distinct: 3", "distinct: 30"))
    assert reasons(manifest, "words") == {"forum": {}}
    assert reasons(manifest, "opt_out")["law"] == {"id": 1}
    (folder / "lists" / "ids.txt").rename(folder / "moved.txt")
    built("third", ("lists/ids.txt", "moved.txt"))
    (folder / "moved.txt").write_text("law/8\n")
    with pytest.raises(UserError, match=r"law\.jsonl:1: not JSON"):
        built("fourth", ("lists/ids.txt", "moved.txt"))


WRONG = {
    ("- repair\n", "- repiar\n"): r"made\.yaml:15: steps\[0\]: no step repiar; did you mean repair\?",
    (
        "- repair\n",
        "- repair: {replacd: 1}\n",
    ): r"made\.yaml:15: .*replacd: no option of this step; did you mean replaced\?",
    ("- repair\n", "- repair: {replaced: x}\n"): r"made\.yaml:15: steps\[0\]\.repair\.replaced: found 'x'",
    ("- repair\n", "- 3\n"): r"made\.yaml:15: steps\[0\]: found 3; an entry is",
    ("- repair\n", "- words\n"): "words twice",
    ("fields: [question]", "field: [question]"): r"made\.yaml:20: .*\.sets\.quiz\.field: unknown key; .*fields\?",
    ("words: false", "wordz: false"): r"made\.yaml:13: sources\.law\.steps\.wordz: no such step; did you mean words\?",
    ("words: false", "typography: {}"): r"made\.yaml:13: sources\.law\.steps\.typography: not among the `steps`",
    ("words: false", "deduplicate.exact: false"): "compares documents with each other",
    ("words: false", "words: true"): r"made\.yaml:13: sources\.law\.steps\.words: found True; wanted the options",
    ("distinct: 3", "distinkt: 3"): r"made\.yaml:7: .*words\.distinkt: no option of this step; did you mean distinct\?",
    ("distinct: 3", "distinct: 0"): r"made\.yaml:7: sources\.forum\.steps\.words\.distinct: found 0; .*greater than",
    ("  - deduplicate.exact\n", "  - deduplicate.exact\n  - typography\n"): "move it before deduplicate.exact",
    (CORPUS[CORPUS.index("\nsteps:") :], "\nsteps: repair"): r"made\.yaml:14: steps: found 'repair'; wanted a list",
}


@pytest.mark.parametrize("change", WRONG)
def test_mistakes_are_placed(change: tuple[str, str], tmp_path: Path) -> None:
    """With file, line, key, and the nearest that is known."""
    path = tmp_path / "made.yaml"
    path.write_text(CORPUS.replace(*change))
    with pytest.raises(UserError, match=WRONG[change]):
        read_corpus(path)


@pytest.mark.parametrize(("name", "said"), [("ids.txt", "opt_out: ids: no such file"), ("quiz.jsonl", "quiz: no such")])
def test_a_missing_list_is_told_before_anything_is_read(
    name: str, said: str, built: Callable[..., Manifest], folder: Path
) -> None:
    """A build that could not opt anyone out does not begin."""
    (folder / "lists" / name).unlink()
    with pytest.raises(UserError, match=said):
        built("out")
    assert not (folder / "out" / "manifest.json").exists()
