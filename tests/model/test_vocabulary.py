"""A model whose vocabulary grows keeps what it knows: old rows to the bit, new ones the mean of their pieces."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.evaluate.small import CONFIG, write_model

from clapas.model.hf_weights import EMBEDDING, HEAD
from clapas.model.source import WeightSource, open_source
from clapas.model.vocabulary import grown

OLD, NEW = CONFIG.vocab_size, CONFIG.vocab_size + 9
PIECES = [[1, 2, 3], [7, 7], [250, 0]]


@pytest.fixture
def source(tmp_path: Path) -> WeightSource:
    """A small untied model of 259 ids."""
    write_model(tmp_path)
    return open_source(tmp_path)


@pytest.mark.parametrize("name", [EMBEDDING, HEAD])
def test_new_rows_are_the_means_of_their_pieces(source: WeightSource, name: str) -> None:
    """Then the mean of all as padding; of embedding and head alike."""
    old = source.tensor(name)
    found = grown(source, NEW, OLD, PIECES).tensor(name)
    assert found.shape == (NEW, CONFIG.hidden_size)
    assert torch.equal(found[:OLD], old)
    wanted = torch.stack([old[pieces].mean(0) for pieces in PIECES])
    torch.testing.assert_close(found[OLD : OLD + 3], wanted)
    torch.testing.assert_close(found[OLD + 3 :], old.mean(0).expand(6, -1))


def test_rows_of_padding_become_new_tokens(source: WeightSource) -> None:
    """Where a table has more rows than its tokenizer ids, new ids take these; what is left of them stays."""
    old = source.tensor(EMBEDDING)
    found = grown(source, OLD, 250, PIECES[:2]).tensor(EMBEDDING)
    torch.testing.assert_close(found[250:252], torch.stack([old[pieces].mean(0) for pieces in PIECES[:2]]))
    assert torch.equal(found[:250], old[:250])
    assert torch.equal(found[252:], old[252:])


def test_slices_are_those_of_the_whole(source: WeightSource) -> None:
    """Any rank reads its part alone, across the border too; tables that do not grow are the source's."""
    larger = grown(source, NEW, OLD, PIECES)
    whole = larger.tensor(EMBEDDING).flatten()
    border = OLD * CONFIG.hidden_size
    for start, size in ((0, 50), (border - 20, 50), (border + 7, 40), (len(whole) - 5, 5)):
        part = torch.empty(size)
        larger.read_into(EMBEDDING, start, part)
        assert torch.equal(part, whole[start : start + size])
    assert torch.equal(larger.tensor("model.norm.weight"), source.tensor("model.norm.weight"))
    assert grown(source, OLD) is source
