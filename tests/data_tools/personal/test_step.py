"""The step `personal` in a corpus: what it counts, what it keeps to itself, and that no source with such data goes
without."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from clapas.recipe.errors import UserError
from clapas_data.corpus import read_corpus
from clapas_data.personal.key import read_key
from clapas_data.pipeline import run_steps
from clapas_data.steps.personal import Personal
from clapas_data.text.batch import TextBatch
from commands import Clapas

SECRET = "5ecf83aa9b1d4c0f8e7a"
LETTER = "Mme Claire Martin est née le 12/03/1961. Tél. 06 12 34 56 78 ou 06 98 76 54 32. Article L. 1111-4 du code."


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    """The key of the surrogates, in the environment."""
    monkeypatch.setenv("CLAPAS_PERSONAL_SECRET_KEY", SECRET)
    return SECRET


def corpus_file(folder: Path, *lines: str, steps: str = "[personal]") -> Path:
    """A corpus of one source of letters, with some more lines in the source."""
    (folder / "lettres").mkdir(exist_ok=True)
    for number in range(40):
        (folder / "lettres" / f"{number}.txt").write_text(
            f"{LETTER} Dossier {number}. " + "Le texte suit son cours. " * 9
        )
    path = folder / "corpus.yaml"
    source = "".join(f"    {line}\n" for line in ("folder: lettres", "licence: test", *lines))
    path.write_text(f"name: lettres\nsources:\n  lettres:\n{source}steps: {steps}\ndecontaminate: null\n")
    return path


def test_counts_and_texts() -> None:
    """Counts by kind and of documents; a text without any is the same object."""
    batch = TextBatch([LETTER, "Rien ici."], ids=["a", "b"], source="s")
    outcome = Personal()(batch)
    assert outcome.texts is not None
    assert outcome.texts[1] is batch.texts[1]
    assert outcome.texts[0] == (
        "Mme <PERSONNE> est née le <DATE_DE_NAISSANCE>. Tél. <TÉLÉPHONE> ou <TÉLÉPHONE>. Article L. 1111-4 du code."
    )
    expected = {"personal.person": 1, "personal.birth_date": 1, "personal.phone": 2, "personal.documents": 1}
    assert outcome.counts == expected
    assert Personal()(TextBatch(["Rien."], ids=["a"])).texts is None
    left = run_steps([Personal(leave=("phone", "person"))], batch).texts[0]
    assert "Claire Martin" in left
    assert "06 12 34 56 78" in left
    assert "12/03/1961" not in left


def test_build_counts_by_source_and_writes_no_key(
    tmp_path: Path, fresh_cache: Path, secret: str, test_data: Path, clapas: Clapas
) -> None:
    """Surrogates in the shards; counts by source in the manifest; neither key nor data in any file that is written."""
    path = corpus_file(tmp_path, "contains: [personal, health]", steps="[personal: {mode: surrogate}]")
    run = clapas("data", "build", path, "--out", "out", "--tokenizer", test_data / "tokenizer", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    steps = {step["name"]: step for step in json.loads((tmp_path / "out" / "manifest.json").read_text())["steps"]}
    counts = steps["personal"]["sources"]["lettres"]["counts"]
    assert (counts["personal.phone"], counts["personal.documents"]) == (80, 40)
    written = [*(tmp_path / "out").rglob("*"), *(fresh_cache / "prepared").rglob("*")]
    contents = [file.read_bytes() for file in written if file.is_file()]
    assert len(contents) > 5
    assert not any(
        hidden in data for data in contents for hidden in (secret.encode(), b"06 12 34 56 78", b"Claire Martin")
    )
    tokenizer = Tokenizer.from_file(str(test_data / "tokenizer" / "tokenizer.json"))
    (shard,) = (tmp_path / "out" / "train").glob("*.bin")
    assert "06 39 98" in tokenizer.decode(np.fromfile(shard, np.uint16).tolist())


def test_another_key_is_another_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Cached work of one key is not taken for that of another; without surrogates no key is asked for."""
    (tmp_path / "one").write_text("a" * 32 + "\n")
    (tmp_path / "two").write_text("b" * 32 + "\n")
    steps = [Personal(mode="surrogate", key=f"file:{name}").under(tmp_path) for name in ("one", "two")]
    assert steps[0].identity()["key"] != steps[1].identity()["key"]
    texts = [step(TextBatch([LETTER], ids=["a"])).texts for step in steps]
    assert texts[0] != texts[1]
    monkeypatch.delenv("CLAPAS_PERSONAL_SECRET_KEY", raising=False)
    assert Personal().identity()["key"] is None


WRONG = {
    "no steps": ((), "[]", "contains health data, but the corpus lacks the step"),
    "switched off": (("steps: {personal: false}",), "[personal]", "this source switches off the step"),
    "a kind left": ((), "[personal: {leave: [nir, phone]}]", "its step `personal` leaves nir"),
    "left by the source": (("steps: {personal: {leave: [person]}}",), "[personal]", "leaves person"),
    "the key itself": ((), f"[personal: {{mode: surrogate, key: {SECRET}}}]", "never the key itself"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_no_source_with_such_data_goes_without(mistake: str, tmp_path: Path) -> None:
    """Told with file and line, before anything is read."""
    lines, steps, wanted = WRONG[mistake]
    with pytest.raises(UserError, match=r"corpus.yaml:\d") as error:
        read_corpus(corpus_file(tmp_path, "contains: [health]", *lines, steps=steps))
    assert wanted in str(error.value)


STOPPED = {
    "no step": ("[repair]", "contains health data, but the corpus lacks the step"),
    "no key": ("[personal: {mode: surrogate, key: env:CLAPAS_NO_SUCH}]", "export CLAPAS_NO_SUCH=$(openssl"),
    "no model": ("[personal: {names: presidio, names_model: no_such}]", "presidio"),
}


@pytest.mark.parametrize("mistake", STOPPED)
def test_mistakes_stop_the_build(
    mistake: str, tmp_path: Path, fresh_cache: Path, test_data: Path, clapas: Clapas
) -> None:
    """Exit 2, one message, nothing built: `clapas data build` as a user starts it."""
    steps, wanted = STOPPED[mistake]
    corpus_file(tmp_path, "contains: [health]", steps=steps)
    run = clapas("data", "build", "corpus.yaml", "--out", "out", "--tokenizer", test_data / "tokenizer", cwd=tmp_path)
    assert run.returncode == 2, run.stderr
    assert wanted in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "out").exists()
    assert not [*(fresh_cache / "prepared").rglob("*.arrow")]


def test_short_keys_are_refused(tmp_path: Path) -> None:
    """A word is no key; nor is an empty file, nor none."""
    (tmp_path / "short").write_text("secret\n")
    (tmp_path / "empty").write_text("\n")
    for name, found in (("short", "6 bytes"), ("empty", "is empty"), ("none", "No such file")):
        with pytest.raises(UserError, match=found):
            read_key(f"file:{tmp_path / name}")


def test_sources_without_such_data_need_no_step(tmp_path: Path) -> None:
    """And with `personal` alone, a kind may be left: an institution's address, for one."""
    assert read_corpus(corpus_file(tmp_path, steps="[]")).steps == ()
    read_corpus(corpus_file(tmp_path, "contains: [personal]", steps="[personal: {leave: [address]}]"))
    read_corpus(corpus_file(tmp_path, "contains: [health]", steps="[personal: {leave: [address]}]"))
