"""Encoding: the ids of `tokenizers`, by the fast engine where it agrees; text is never a special token."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from clapas.recipe.errors import UserError
from clapas_data import encode
from clapas_data.encode import PROBE, choose_engine, encode_documents, load_encoder, open_tokenizer


@pytest.fixture(scope="module")
def folder(test_data: Path) -> Path:
    """The test corpus's tokenizer."""
    return test_data / "tokenizer"


def test_engines_agree(folder: Path, guides: list[str]) -> None:
    """All 269 guides and the probe, id for id."""
    texts = [*guides, *PROBE]
    for fast, plain in zip(
        load_encoder(folder, "fastokens").encode(texts), load_encoder(folder, "tokenizers").encode(texts), strict=True
    ):
        assert np.array_equal(fast, plain)
    assert choose_engine(folder, guides[:3]) == "fastokens"


def test_documents_end_with_eos_and_spell_none(folder: Path) -> None:
    """One EOS a document, its last token; `<|end_of_text|>` in a text is letters."""
    texts = ["un <|end_of_text|> deux", "x", "<|begin_of_text|>"]
    opened = open_tokenizer(folder)
    tokens, lengths = encode_documents(texts, opened, "fastokens", np.dtype("uint16"))
    ends = np.cumsum(lengths) - 1
    assert np.flatnonzero(tokens == opened.record.eos).tolist() == ends.tolist()
    assert not (tokens == opened.record.bos).any()
    stock = Tokenizer.from_file(str(folder / "tokenizer.json"))
    pieces = [one[:-1].tolist() for one in np.split(tokens, ends[:-1] + 1)]
    assert [stock.decode(piece, skip_special_tokens=False) for piece in pieces] == texts


def altered(folder: Path, out: Path, config: dict[str, object], content: dict[str, object]) -> Path:
    """The tokenizer with other settings."""
    out.mkdir()
    for name, changes in (("tokenizer_config.json", config), ("tokenizer.json", content)):
        values = json.loads((folder / name).read_text())
        (out / name).write_text(json.dumps({**values, **changes}))
    return out


def test_bos_where_the_tokenizer_says_so(folder: Path, tmp_path: Path) -> None:
    """A tokenizer that adds BOS, as Llama-3's, has it before each document."""
    opened = open_tokenizer(altered(folder, tmp_path / "bos", {"add_bos_token": True}, {}))
    assert opened.record.uses_bos
    tokens, lengths = encode_documents(["a", "", "b"], opened, "fastokens", np.dtype("uint16"))
    bos, eos = opened.record.bos, opened.record.eos
    assert lengths.tolist() == [3, 2, 3]
    assert tokens[[0, 2, 3, 4, 5, 7]].tolist() == [bos, eos, bos, eos, bos, eos]


def test_bos_where_the_post_processor_puts_it(folder: Path, tmp_path: Path) -> None:
    """Llama-3's own configuration has no `add_bos_token`: its post-processor begins each text with BOS."""
    name = "<|begin_of_text|>"
    special = {name: {"id": name, "ids": [open_tokenizer(folder).record.bos], "tokens": [name]}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": name, "type_id": 0}}, text],
        "pair": [text],
        "special_tokens": special,
    }
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    whole = {"type": "Sequence", "processors": [byte_level, template]}
    assert not open_tokenizer(folder).record.uses_bos
    for place, post_processor in enumerate((template, whole)):
        other = altered(folder, tmp_path / str(place), {"add_bos_token": False}, {"post_processor": post_processor})
        stock = Tokenizer.from_file(str(other / "tokenizer.json"))
        assert open_tokenizer(other).record.uses_bos
        assert stock.encode("un").ids[0] == open_tokenizer(other).record.bos


def test_a_unigram_tokenizer(folder: Path, tmp_path: Path) -> None:
    """CamemBERT's and T5's kind, whose vocabulary is a list of pieces with scores."""
    pieces = [["<unk>", 0.0], ["</s>", 0.0], ["un", -1.0], ["deux", -2.0]]
    other = altered(
        folder,
        tmp_path / "unigram",
        {"eos_token": "</s>", "bos_token": None, "pad_token": None},
        {"model": {"type": "Unigram", "unk_id": 0, "vocab": pieces}, "pre_tokenizer": None, "added_tokens": []},
    )
    opened = open_tokenizer(other)
    assert (opened.record.vocab_size, opened.record.eos, opened.record.bos) == (4, 1, None)
    tokens, _ = encode_documents(["undeux"], opened, choose_engine(other, []), np.dtype("uint16"))
    assert tokens.tolist() == [2, 3, 1]


class Panicking(encode._Fastokens):
    """The fast engine at work on a tokenizer that it panics on: an id beyond its vocabulary."""

    def __init__(self, content: str) -> None:
        values = json.loads(content)
        token = dict.fromkeys(("special", "single_word", "lstrip", "rstrip", "normalized"), False)
        super().__init__(json.dumps({**values, "added_tokens": [{"id": 2**32 - 1, "content": "x", **token}]}))


def test_a_panic_of_the_fast_engine_is_no_end(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A Rust panic is no Exception of Python's: the texts are encoded all the same."""
    monkeypatch.setattr(encode, "_Fastokens", Panicking)
    assert choose_engine(altered(folder, tmp_path / "other", {}, {}), ["un"]) == "tokenizers"
    assert "index out of bounds" in capsys.readouterr().err


def test_falls_back_with_a_message(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tokenizer that the fast engine does not do alike is encoded by `tokenizers`."""
    words = {"type": "WordLevel", "vocab": {"un": 0, "[UNK]": 1, "<|end_of_text|>": 2}, "unk_token": "[UNK]"}
    other = altered(folder, tmp_path / "words", {}, {"model": words, "pre_tokenizer": {"type": "Whitespace"}})
    assert choose_engine(other, ["un deux"]) == "tokenizers"
    assert "encoding with tokenizers" in capsys.readouterr().err
    assert load_encoder(other, "tokenizers").encode(["un deux"])[0].tolist() == [0, 1]


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", ["[]", "{", '{"model": {}, "added_tokens": [1]}'])
def test_what_is_no_tokenizer_is_told(folder: Path, tmp_path: Path, name: str, content: str) -> None:
    """With its folder, and without a traceback."""
    other = altered(folder, tmp_path / "other", {}, {})
    (other / name).write_text(content)
    with pytest.raises(UserError, match=r"not a tokenizer|has no EOS"):
        open_tokenizer(other)


def test_missing_or_endless_tokenizer(folder: Path, tmp_path: Path) -> None:
    """No tokenizer, or one without EOS: told with the way out."""
    with pytest.raises(UserError, match="clapas tokenizer train"):
        open_tokenizer(tmp_path)
    with pytest.raises(UserError, match="no tokenizer here"):
        open_tokenizer(folder / "tokenizer.json")
    with pytest.raises(UserError, match="has no EOS"):
        open_tokenizer(altered(folder, tmp_path / "endless", {"eos_token": None}, {}))


@pytest.mark.parametrize("unit", ["a", " ", "1", "!", "é", "ab"])
def test_endless_words(folder: Path, unit: str) -> None:
    """A million characters without a break: no engine hangs, ids agree."""
    text = unit * (1_000_000 // len(unit))
    fast, _ = load_encoder(folder, "fastokens").encode([text])
    plain, _ = load_encoder(folder, "tokenizers").encode([text])
    assert np.array_equal(fast, plain)
