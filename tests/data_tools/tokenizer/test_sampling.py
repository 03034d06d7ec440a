"""Training text weighed so that the same sentences cost about the same in each language."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import ModuleType

import pytest
from tokenizers import Tokenizer

from clapas.recipe.errors import UserError
from clapas_data.corpus import read_corpus
from clapas_data.prepare import prepare
from clapas_data.tokenizer.samples import parallel_texts
from clapas_data.tokenizer.sampling import training_texts
from clapas_data.tokenizer.train import train
from clapas_data.workers import Workers


def english(*modules: ModuleType) -> list[str]:
    """The docstrings of some modules: real English of a few kB."""
    owners = [owner for module in modules for owner in vars(module).values() if isinstance(owner, type)]
    members = [member for owner in owners for member in (owner, *vars(owner).values())]
    found = {doc for member in members if isinstance(doc := getattr(member, "__doc__", None), str) and len(doc) > 80}
    return sorted(found)


def declare(path: Path, **languages: str) -> None:
    """Write languages into a corpus file, source by source."""
    facts = json.loads(path.read_text())
    for name, language in languages.items():
        facts["sources"][name]["language"] = language
    path.write_text(json.dumps(facts))


@pytest.fixture
def corpus(jsonl_corpus, guides: list[str]) -> Path:
    """Much French, little English."""
    path = jsonl_corpus(french=guides[:25], english=english(argparse))
    declare(path, french="fr", english="en")
    return path


def test_parity_brings_languages_together(corpus: Path, tmp_path: Path) -> None:
    """The dear language gets cheaper by copies of its text, the report tells, and asking again does nothing."""
    plain = train(corpus, 1024, tmp_path / "plain")
    report = train(corpus, 1024, tmp_path / "parity", parity=True)
    assert "parity" not in plain
    costs = {}
    for name in ("plain", "parity"):
        stock = Tokenizer.from_file(str(tmp_path / name / "tokenizer.json"))
        costs[name] = {language: len(stock.encode(text).ids) for language, text in parallel_texts().items()}
    found = report["parity"]
    assert found["tokens_in_proportion"] == {name: costs["plain"][name] for name in ("en", "fr")}
    assert found["tokens"] == {name: costs["parity"][name] for name in ("en", "fr")}
    dearest = max(("en", "fr"), key=costs["plain"].__getitem__)
    assert dearest == "en"
    assert found["tokens"]["en"] < 0.97 * found["tokens_in_proportion"]["en"]
    assert found["copies"]["en"] > 1 > found["copies"]["fr"]
    assert train(corpus, 1024, tmp_path / "parity", parity=True) == report
    with pytest.raises(UserError, match="holds another tokenizer"):
        train(corpus, 1024, tmp_path / "parity")


def test_documents_are_read_as_often_as_said(corpus: Path) -> None:
    """Whole copies of all documents, and a part of them chosen by hash; without rates, one of each."""
    with Workers(1) as workers:
        prepared = prepare(read_corpus(corpus), workers)
    every = [text for texts in training_texts(prepared, 10**9) for text in texts]
    assert every == list(prepared.texts("train"))
    weighed = [text for texts in training_texts(prepared, 10**9, {"french": 0.5, "english": 2.25}) for text in texts]
    french = [text for one in prepared.batches("train")["french"] for text in one.read("text").column(0).to_pylist()]
    others = [text for text in every if text not in french]
    assert 0.25 * len(french) < sum(text in french for text in weighed) < 0.75 * len(french)
    assert {weighed.count(text) for text in others} == {2, 3}
    half = sum(len(text.encode()) for text in every) // 2
    size = sum(len(text.encode()) for texts in training_texts(prepared, half) for text in texts)
    assert 0.7 * half < size < 1.3 * half


def test_what_cannot_be_weighed_is_told(corpus: Path, tmp_path: Path) -> None:
    """One language, a language without parallel text, texts that are not parallel: each is told, nothing written."""
    with pytest.raises(UserError, match="sources of two languages or more"):
        train("test", 1024, tmp_path / "out", parity=True)
    declare(corpus, english="de")
    with pytest.raises(UserError, match=r"no parallel text in a language.*\n.*de; there is text in en, fr, oc"):
        train(corpus, 1024, tmp_path / "out", parity=True)
    texts = tmp_path / "parallel"
    texts.mkdir()
    (texts / "fr.txt").write_text("Bonjour.\nMerci.\n")
    (texts / "de.txt").write_text("Guten Tag.\n")
    with pytest.raises(UserError, match=r"de.txt of 1 lines, fr.txt of 2 lines"):
        train(corpus, 1024, tmp_path / "out", parity=texts)
    assert not (tmp_path / "out").exists()
