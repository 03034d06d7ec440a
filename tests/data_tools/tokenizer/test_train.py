"""The trained tokenizer: Llama-3's layout, loaded by stock tools, with every id in its place from birth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from clapas.recipe.errors import UserError
from clapas_data.encode import choose_engine, load_encoder, open_tokenizer
from clapas_data.tokenizer.presets import SPLITS, split_of
from clapas_data.tokenizer.train import BOS, EOS, FRENCH, PAD, SMALLEST, SPECIAL, train

VOCABULARY = 2048


def test_split_is_llama3s(folder: Path) -> None:
    """To the letter: what llama.cpp implements as `llama-bpe`."""
    content = json.loads((folder / "tokenizer.json").read_text())
    split, to_bytes = content["pre_tokenizer"]["pretokenizers"]
    assert split["pattern"]["Regex"] == (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    assert (split["behavior"], split["invert"]) == ("Isolated", False)
    assert (to_bytes["add_prefix_space"], to_bytes["use_regex"]) == (False, False)
    assert content["model"]["ignore_merges"] is True
    assert content["normalizer"] is None


def test_ids_are_laid_out(folder: Path) -> None:
    """Bytes and merges by rank, then the special tokens, all within the vocabulary asked for; pad is not EOS."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == VOCABULARY
    first = VOCABULARY - len(SPECIAL)
    assert [tokenizer.token_to_id(name) for name in SPECIAL] == list(range(first, VOCABULARY))
    record = open_tokenizer(folder).record
    assert (record.bos, record.eos, record.pad) == (first, first + 1, first + 2)
    assert (record.vocab_size, record.uses_bos) == (VOCABULARY, False)
    content = json.loads((folder / "tokenizer.json").read_text())
    merged = [content["model"]["vocab"]["".join(pair)] for pair in content["model"]["merges"]]
    assert merged == list(range(256, first))


def test_stock_transformers_loads_it(folder: Path, guides: list[str]) -> None:
    """AutoTokenizer gives the ids of `tokenizers` and of the build, adds no BOS, and knows the special tokens."""
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(folder)
    stock = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encoder = load_encoder(folder, "fastokens")
    for text in [*guides[:20], *FRENCH]:
        ids = loaded(text)["input_ids"]
        assert ids == stock.encode(text).ids == encoder.encode([text])[0].tolist()
        assert loaded.decode(ids) == text
    assert (loaded.bos_token, loaded.eos_token, loaded.pad_token) == (BOS, EOS, PAD)
    assert len(loaded) == VOCABULARY
    assert loaded(EOS)["input_ids"] == [loaded.eos_token_id]


@given(st.text())
def test_any_text_comes_back(folder: Path, text: str) -> None:
    """Encoding loses nothing, whatever the script."""
    tokens, _ = load_encoder(folder, "fastokens").encode([text])
    stock = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert stock.decode(tokens.tolist(), skip_special_tokens=False) == text


def test_report(folder: Path) -> None:
    """Bytes a token on training and held-out text, each better than bytes by far."""
    ratios = json.loads((folder / "report.json").read_text())["bytes_per_token"]
    assert 3 < ratios["heldout"] < 5
    assert 3 < ratios["train"] < 5


def test_training_is_deterministic(folder: Path, tmp_path: Path) -> None:
    """The same corpus gives the same file; asking for what is there does nothing; another is refused."""
    train("test", VOCABULARY, tmp_path / "again")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "report.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
    before = (folder / "tokenizer.json").stat()
    train("test", VOCABULARY, folder)
    assert (folder / "tokenizer.json").stat() == before
    with pytest.raises(UserError, match="holds another tokenizer"):
        train("test", VOCABULARY + 8, folder)


def test_impossible_sizes(tmp_path: Path) -> None:
    """Too few ids for bytes and special tokens, or more than the text supports: told, and nothing written."""
    with pytest.raises(UserError, match=f"at least {SMALLEST}"):
        train("test", SMALLEST - 1, tmp_path / "out")
    with pytest.raises(UserError, match="does not support so many ids"):
        train("test", 1_000_000, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_held_out_text_is_not_read(folder: Path, tmp_path: Path, guides: list[str], jsonl_corpus) -> None:
    """A word that only held-out documents have is no token."""
    word = " xyzzyplugh"
    path = jsonl_corpus(a=guides[:60], b=[word * 400 + guide for guide in guides[60:70]], held_out=[
        {"source": "b", "files": "*b.jsonl"}
    ])  # fmt: skip
    train(path, 600, tmp_path / "without")
    tokens, _ = load_encoder(tmp_path / "without", "fastokens").encode([word])
    assert len(tokens) > 4


def test_qwen2_split_takes_digits_one_by_one(folder: Path, tmp_path: Path, guides: list[str], jsonl_corpus) -> None:
    """Its regex is that of transformers' Qwen2, the fast engine gives its ids, and a folder says which split it has."""
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    assert SPLITS["qwen2"].regex == PRETOKENIZE_REGEX
    corpus = jsonl_corpus(a=guides[:40])
    report = train(corpus, 1024, tmp_path / "qwen2", split="qwen2")
    assert report["split"] == "qwen2"
    assert choose_engine(tmp_path / "qwen2", guides[:20]) == "fastokens"
    content = json.loads((tmp_path / "qwen2" / "tokenizer.json").read_text())
    assert not [token for token in content["model"]["vocab"] if set(token) & set("0123456789") and len(token) > 1]
    stock = Tokenizer.from_file(str(tmp_path / "qwen2" / "tokenizer.json"))
    assert stock.encode("en 2024").tokens[-4:] == ["2", "0", "2", "4"]

    trained = json.loads((folder / "tokenizer.json").read_text())
    assert [split_of(one).gguf for one in (content, trained) if split_of(one)] == ["qwen2", "llama-bpe"]  # pyright: ignore[reportOptionalMemberAccess]
    trained["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\p{L}+"
    assert split_of(trained) is None
    with pytest.raises(UserError, match="holds another tokenizer"):
        train(corpus, 1024, tmp_path / "qwen2")
