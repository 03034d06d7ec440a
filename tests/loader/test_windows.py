"""Evaluation windows predict every token of a split exactly once, each with enough before it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clapas.loader.batch import NO_TARGET, Batch
from clapas.loader.windows import Windows
from clapas.recipe.errors import UserError
from clapas_data.manifest import Manifest, open_manifest
from corpora import EOS, write_corpus

LENGTHS = [[9, 30], [14]]
TOTAL = 53


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A held-out split of 53 tokens in two shards."""
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, {"law": [[5]]}, {"law": LENGTHS})
    return open_manifest(folder)


def counted(batch: Batch) -> list[tuple[int, int, int]]:
    """(token before, target, tokens that it sees) of every target."""
    found = []
    for tokens, targets in zip(batch.tokens.tolist(), batch.targets.tolist(), strict=True):
        found += [(tokens[p], target, p + 1) for p, target in enumerate(targets) if target != NO_TARGET]
    return found


@settings(max_examples=60, deadline=None)
@given(length=st.integers(1, 70), data=st.data(), batch_size=st.integers(1, 5), world=st.integers(1, 3))
def test_every_token_is_predicted_once_with_enough_before_it(
    manifest: Manifest, length: int, data: st.DataObject, batch_size: int, world: int
) -> None:
    """For any length, stride, batch and ranks; EOS stands before the first token."""
    stride = data.draw(st.integers(1, length))
    ranks = [
        Windows(manifest, sequence_length=length, stride=stride, batch_size=batch_size, rank=rank, world=world)
        for rank in range(world)
    ]
    batches = [list(windows) for windows in ranks]
    assert len({len(windows) for windows in ranks} | {len(found) for found in batches}) == 1
    found = [target for rank in batches for batch in rank for target in counted(batch)]
    assert sorted(target for _, target, _ in found) == list(range(TOTAL))
    for before, target, seen in found:
        assert before == (target - 1 if target else EOS)
        assert seen > min(target, length - stride)
    assert ranks[0].token_count == TOTAL == sum(batch.target_count for rank in batches for batch in rank)


def test_the_bytes_are_those_of_the_text(manifest: Manifest) -> None:
    """What bits per byte divides by: four a token here."""
    assert Windows(manifest, sequence_length=8, stride=4, batch_size=1).text_bytes == 4 * TOTAL


def test_bare_shards_leave_the_first_token_unpredicted(tmp_path: Path) -> None:
    """Nothing is known of their EOS, nor of their text."""
    write_corpus(tmp_path, {"law": [[5]]}, {"law": LENGTHS})
    for path in (*tmp_path.glob("*.*"), *tmp_path.rglob("*.crc")):
        path.unlink()
    windows = Windows(open_manifest(tmp_path), sequence_length=8, stride=4, batch_size=2)
    found = [target for batch in windows for _, target, _ in counted(batch)]
    assert (sorted(found), windows.text_bytes) == (list(range(1, TOTAL)), None)


@pytest.mark.parametrize("stride", [0, 9])
def test_an_impossible_stride_is_refused(manifest: Manifest, stride: int) -> None:
    """It would skip tokens, or never end."""
    with pytest.raises(UserError, match="from 1 to the sequence length, 8"):
        Windows(manifest, sequence_length=8, stride=stride, batch_size=1)


def test_a_missing_split_is_refused(manifest: Manifest) -> None:
    """The message lists those that there are."""
    with pytest.raises(UserError, match="train, heldout"):
        Windows(manifest, sequence_length=8, stride=8, batch_size=1, split="test")
