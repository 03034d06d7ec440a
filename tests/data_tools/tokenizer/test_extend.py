"""An extended tokenizer: the base's ids as they were, French shorter, and every text comes back."""

from __future__ import annotations

import json
from functools import cache
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from clapas.recipe.errors import UserError
from clapas_data.encode import PROBE, choose_engine, load_encoder, open_tokenizer
from clapas_data.extension import read_extension
from clapas_data.tokenizer.extend import extend
from clapas_data.tokenizer.opened import open_any
from clapas_data.tokenizer.train import FRENCH, SPECIAL
from data_tools.tokenizer.conftest import VOCABULARY

ADDED = 500


@pytest.fixture(scope="session")
def extended(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained tokenizer with 500 more tokens of the same corpus."""
    path = tmp_path_factory.mktemp("extended") / "tokenizer"
    extend(folder, "test", ADDED, path)
    return path


@cache
def opened(path: Path) -> Tokenizer:
    """A tokenizer, loaded once."""
    return Tokenizer.from_file(str(path / "tokenizer.json"))


@cache
def pieces_of(path: Path) -> list[bytes | None]:
    """The bytes of each id."""
    return open_any(str(path)).pieces


def borders(folder: Path, ids: list[int]) -> set[int]:
    """The bytes at which tokens end."""
    pieces = pieces_of(folder)
    return set(accumulate(len(pieces[number] or b"") for number in ids))


def test_the_ids_of_the_base_are_a_prefix(folder: Path, extended: Path) -> None:
    """Every token of the base has its id, special ones included; new ids follow; the merges of the base come first."""
    before, after = opened(folder).get_vocab(), opened(extended).get_vocab()
    assert {token: after[token] for token in before} == before
    assert sorted(set(after.values()) - set(before.values())) == list(range(VOCABULARY, VOCABULARY + ADDED))
    one, other = open_tokenizer(folder).record, open_tokenizer(extended).record
    assert (one.eos, one.bos, one.pad) == (other.eos, other.bos, other.pad)
    assert [opened(extended).token_to_id(name) for name in SPECIAL] == [before[name] for name in SPECIAL]
    merges = [json.loads((path / "tokenizer.json").read_text())["model"]["merges"] for path in (folder, extended)]
    assert merges[1][: len(merges[0])] == merges[0]
    assert len(merges[1]) == len(merges[0]) + ADDED


def test_french_is_shorter(extended: Path) -> None:
    """The report says by how much, on held-out text too."""
    report = json.loads((extended / "report.json").read_text())
    for part in ("train", "heldout"):
        assert report["bytes_per_token"][part] > 1.05 * report["base"]["bytes_per_token"][part]


@given(st.text() | st.sampled_from([*FRENCH, *PROBE]))
def test_every_text_comes_back_and_no_base_token_is_cut(folder: Path, extended: Path, text: str) -> None:
    """decode(encode(x)) = x; a new token joins whole tokens of the base; without new ones nothing changes."""
    before, after = (load_encoder(path, "tokenizers").encode([text])[0].tolist() for path in (folder, extended))
    assert opened(extended).decode(after, skip_special_tokens=False) == text
    assert borders(extended, after) <= borders(folder, before)
    if max(after, default=0) < VOCABULARY:
        assert after == before


def test_pieces_are_what_new_tokens_are_made_of(folder: Path, extended: Path) -> None:
    """Each new token's bytes are those of its pieces, which the base has; the base is named by its hash."""
    facts = read_extension(extended)
    assert facts is not None
    assert (facts.base_hash, facts.base_size) == (open_tokenizer(folder).record.hash, VOCABULARY)
    of_base, of_extended = pieces_of(folder), pieces_of(extended)
    for place, pieces in enumerate(facts.pieces):
        assert len(pieces) > 1
        assert of_extended[VOCABULARY + place] == b"".join(of_base[piece] or b"" for piece in pieces)
    assert read_extension(folder) is None


def test_stock_transformers_and_fastokens_load_it(extended: Path) -> None:
    """AutoTokenizer gives the ids of `tokenizers`; a build may encode with fastokens."""
    from transformers import AutoTokenizer

    loaded, stock = AutoTokenizer.from_pretrained(extended), opened(extended)
    for text in FRENCH:
        assert loaded(text)["input_ids"] == stock.encode(text).ids
    assert choose_engine(extended, FRENCH) == "fastokens"


def test_the_same_command_does_nothing_twice(folder: Path, extended: Path) -> None:
    """And another one is refused."""
    changed = (extended / "tokenizer.json").stat().st_mtime_ns
    extend(folder, "test", ADDED, extended)
    assert (extended / "tokenizer.json").stat().st_mtime_ns == changed
    with pytest.raises(UserError, match="holds another tokenizer"):
        extend(folder, "test", ADDED + 1, extended)


def test_what_cannot_be_extended_is_refused(folder: Path, tmp_path: Path) -> None:
    """SentencePiece's way, by name; more words than the corpus has, with how many it has."""
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["byte_fallback"] = True
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    (tmp_path / "tokenizer_config.json").write_bytes((folder / "tokenizer_config.json").read_bytes())
    with pytest.raises(UserError, match="byte_fallback"):
        extend(tmp_path, "test", 10, tmp_path / "out")
    (tmp_path / "texts").mkdir()
    for number in range(3):
        (tmp_path / "texts" / f"{number}.txt").write_text(f"Le vendangeur vendange la vendange numéro {number}.")
    (tmp_path / "few.yaml").write_text("name: few\nsources: {texts: {folder: texts, licence: CC0-1.0}}\n")
    with pytest.raises(UserError, match=r"--add \d+ or fewer"):
        extend(folder, tmp_path / "few.yaml", 10**6, tmp_path / "out")
    assert not (tmp_path / "out").exists()
