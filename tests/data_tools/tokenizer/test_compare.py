"""Tokenizers compared: what is counted is what their own libraries count."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from clapas import cli
from clapas.recipe.errors import UserError
from clapas_data.tokenizer.compare import WORD, compare
from clapas_data.tokenizer.opened import Opened, open_any
from clapas_data.tokenizer.samples import parallel_texts, shipped_samples


def row(content: dict, sample: str, tokenizer: Path | str) -> dict:
    """The figures of a tokenizer on a text."""
    return next(one for one in content["rows"] if (one["sample"], one["tokenizer"]) == (sample, str(tokenizer)))


def test_command_line_compares(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Samples that ship, a file of the user's and a corpus's held-out text, as JSON and as tables."""
    text = "L'été, l'œuvre : « Quoi\u00a0? » 12 345 × aujourd’hui\n"
    (tmp_path / "mine.txt").write_text(text)
    command = ["tokenizer", "compare", str(folder), "--corpus", "test", "--text", str(tmp_path / "mine.txt")]
    assert cli.run([*command, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    stock = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = stock.encode(text).ids
    mine = row(content, "mine.txt", folder)
    assert (mine["tokens"], mine["bytes"], mine["exact"]) == (len(ids), len(text.encode()), True)
    assert mine["bytes_per_token"] == round(len(text.encode()) / len(ids), 4)
    assert mine["vocabulary_used"] == round(len(set(ids)) / 2048, 4)
    heldout = json.loads((folder / "report.json").read_text())["bytes_per_token"]["heldout"]
    assert row(content, "fiches-travail", folder)["bytes_per_token"] == heldout
    names = {sample["name"] for sample in content["samples"]}
    assert names == {*(sample.name for sample in shipped_samples()), "mine.txt", "fiches-travail"}
    assert all(one["exact"] for one in content["rows"])
    tokens = content["parity"][str(folder)]["tokens"]
    assert tokens == {language: len(stock.encode(one).ids) for language, one in parallel_texts().items()}
    assert tokens["fr"] == min(tokens.values())
    assert cli.run(command) == 0
    table = capsys.readouterr().out
    assert f"{mine['bytes_per_token']:.3f}" in table
    assert "|⍽|" in table


def test_words_are_counted_by_their_parts(folder: Path) -> None:
    """Against counting one by one, on French prose: tokens that overlap each word."""
    stock = Tokenizer.from_file(str(folder / "tokenizer.json"))
    sample = next(one for one in shipped_samples() if one.name == "french-prose")
    offsets = stock.encode(sample.texts[0]).offsets
    parts = [
        sum(begin < word.end() and end > word.start() for begin, end in offsets)
        for word in WORD.finditer(sample.texts[0])
    ]
    found = row(compare([str(folder)]), "french-prose", folder)
    assert found["tokens_per_word"] == round(sum(parts) / len(parts), 4)
    assert found["whole_words"] == round(parts.count(1) / len(parts), 4)


@pytest.fixture(scope="module")
def opened(folder: Path) -> list[Opened]:
    """Our own tokenizer and Mistral's."""
    pytest.importorskip("mistral_common")
    found = [open_any(str(folder)), open_any("tekken")]
    assert all(one.pieces for one in found)  # made at first use: not within an example's deadline
    return found


@settings(deadline=None)
@given(st.text())
def test_pieces_and_spans_make_the_text(opened: list[Opened], text: str) -> None:
    """The bytes of a text's tokens are its bytes, and each token covers the characters that its bytes are part of."""
    for one in opened:
        (encoded,) = one.encode([text])
        ids, lengths = one.encode_flat([text, text])
        assert ids.tolist() == encoded.ids.tolist() * 2
        assert lengths.tolist() == [len(encoded.ids)] * 2
        place = 0
        for number, start, end in zip(encoded.ids, encoded.starts, encoded.ends, strict=True):
            piece = one.pieces[number]
            assert piece is not None
            assert len(text[:start].encode()) <= place
            place += len(piece)
            assert place <= len(text[:end].encode())
        assert b"".join(one.pieces[number] or b"" for number in encoded.ids) == text.encode()


def test_tekken_is_mistrals(opened: list[Opened]) -> None:
    """Its size is Mistral's, English costs it little, and Occitan comes back."""
    assert opened[1].vocab_size == 131_072
    content = compare(["tekken"])
    assert row(content, "english-prose", opened[1].name)["bytes_per_token"] > 4
    assert row(content, "occitan-plain", opened[1].name)["exact"]


def test_what_cannot_be_compared_is_told(
    folder: Path, tmp_path: Path, jsonl_corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tokenizer, one named twice, no text, not UTF-8, no held-out text, a missing package: each in one message."""
    latin = tmp_path / "latin.txt"
    latin.write_bytes("été".encode("latin-1"))
    own = str(folder)
    for refused, message in (
        (partial(compare, [str(tmp_path / "none")]), "no tokenizer here"),
        (partial(compare, [own, own]), "named twice"),
        (partial(compare, [own], texts=[tmp_path / "none.txt"]), "cannot be read"),
        (partial(compare, [own], texts=[latin]), r"byte 0 is no UTF-8\n.*iconv"),
        (partial(compare, [own], str(jsonl_corpus(a=["un texte", "un autre texte"]))), "holds no text out"),
        (partial(compare, [str(folder / "tokenizer_config.json")]), "not a tokenizer"),
        (partial(compare, ["tekken_1999"]), "no tekken of that name"),
    ):
        with pytest.raises(UserError, match=message):
            refused()
    monkeypatch.setitem(sys.modules, "mistral_common", None)  # what an import of a missing package finds
    with pytest.raises(UserError, match=r"pip install mistral-common"):
        open_any("tekken")
