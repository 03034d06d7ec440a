"""Batches: equal for any number of ranks, from any step, with every target where it belongs; damage stops them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clapas.loader import shard_pool
from clapas.loader.batch import NO_TARGET
from clapas.loader.loader import Batch, Loader
from clapas.loader.plan import DataPlan
from clapas.recipe.errors import UserError
from clapas.recipe.phases import Phase, Phases
from clapas_data.manifest import Manifest, open_manifest
from corpora import EOS, write_corpus

LAW = [[7, 1, 30, 12], [25], [3, 3, 3]]
WEB = [[40, 2], [18, 9, 9]]
TOTAL = 50 + 25 + 9 + 42 + 36
BATCH = 24


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Five shards of two sources; token i of the whole is i."""
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, {"law": LAW, "web": WEB})
    return open_manifest(folder)


@pytest.fixture
def lists(manifest: Manifest) -> list[list[int]]:
    """Each document's tokens."""
    lengths = [length for shard in LAW + WEB for length in shard]
    starts = [sum(lengths[:number]) for number in range(len(lengths))]
    return [list(range(start, start + length)) for start, length in zip(starts, lengths, strict=True)]


def plan_of(
    manifest: Manifest, length: int = 16, mixture: Mapping[str, float] | None = None, document_mask: bool = False
) -> DataPlan:
    """A data plan with batches of 24 samples."""
    return DataPlan(manifest, Phases.constant(BATCH, length, mixture), seed=3, document_mask=document_mask)


def batches(plan: DataPlan, count: int, **options: int) -> list[Batch]:
    """The first batches of a rank."""
    values = {"rank": 0, "world": 1, "micro_batch_size": 3, **options}
    with Loader(plan, **values) as loader:
        return list(islice(loader, count))


def rows(found: list[Batch]) -> list[list[int]]:
    """The samples of some batches."""
    return [row for batch in found for row in batch.tokens.tolist()]


@settings(max_examples=25, deadline=None)
@given(
    world=st.sampled_from([1, 2, 3, 8]),
    parts=st.booleans(),
    length=st.integers(1, TOTAL - 1),
    step=st.integers(1, 10**6),
    mixed=st.booleans(),
)
def test_any_number_of_ranks_reads_the_same_step(
    manifest: Manifest, world: int, parts: bool, length: int, step: int, mixed: bool
) -> None:
    """One rank after another, the samples of any step are those that a single rank reads."""
    mixture = {"law": 3, "web": 2} if mixed and length < 70 else None
    plan = plan_of(manifest, length, mixture=mixture)
    alone = rows(batches(plan, 1, micro_batch_size=BATCH, start_step=step))
    count = BATCH // world if parts else 1
    micro = BATCH // world // count
    shared = [
        row
        for rank in range(world)
        for row in rows(batches(plan, count, rank=rank, world=world, micro_batch_size=micro, start_step=step))
    ]
    assert shared == alone


def test_starting_at_a_step_equals_reading_up_to_it(manifest: Manifest) -> None:
    """A resume at step 4 reads what an uninterrupted run reads from step 4 on."""
    plan = plan_of(manifest)
    through = batches(plan, 6 * 8)
    resumed = batches(plan, 3 * 8, start_step=4)
    assert rows(through)[3 * BATCH :] == rows(resumed)


def test_the_target_of_a_token_is_the_next_token(manifest: Manifest) -> None:
    """Everywhere but in padding, which is never a target and not counted; tensors are int64 of one shape."""
    for batch in batches(plan_of(manifest), 16):
        assert batch.tokens.dtype == batch.targets.dtype == torch.int64
        assert batch.tokens.shape == batch.targets.shape == (3, 16)
        assert batch.positions is None
        assert batch.document_ids is None
        real = batch.targets != NO_TARGET
        assert torch.equal(batch.targets[real], batch.tokens[real] + 1)
        assert batch.target_count == int(real.sum())


def test_the_last_sample_of_a_stream_is_filled_up(manifest: Manifest) -> None:
    """161 targets in rows of 100: the second row has 61, then padding (EOS: this tokenizer has no pad)."""
    found = rows(batches(plan_of(manifest, 100), 1, micro_batch_size=BATCH))
    assert {tuple(row) for row in found} == {tuple(range(100)), (*range(100, 162), *[EOS] * 38)}


@pytest.mark.parametrize("length", [5, 16, 64])
def test_a_document_mask_knows_every_boundary(manifest: Manifest, lists: list[list[int]], length: int) -> None:
    """Equal ids within a document only, positions from its first token in the sample, no target in another document."""
    document_of = {token: number for number, document in enumerate(lists) for token in document}
    for batch in batches(plan_of(manifest, length, document_mask=True), 24):
        assert batch.positions is not None
        assert batch.document_ids is not None
        assert batch.document_starts is not None
        ids = batch.document_ids
        begins = torch.cat([torch.ones(len(ids), 1, dtype=torch.bool), ids[:, 1:] != ids[:, :-1]], 1).flatten()
        assert {*begins.nonzero().flatten().tolist(), ids.numel()} == set(batch.document_starts.tolist())
        for tokens, targets, positions, ids in zip(
            batch.tokens.tolist(),
            batch.targets.tolist(),
            batch.positions.tolist(),
            batch.document_ids.tolist(),
            strict=True,
        ):
            documents = [document_of.get(token, -1) for token in tokens]
            for here in range(length):
                first = documents.index(documents[here])
                if tokens[here] == EOS and documents[here] == -1:
                    assert targets[here] == NO_TARGET
                else:
                    same = document_of.get(tokens[here] + 1) == documents[here]
                    assert targets[here] == (tokens[here] + 1 if same else NO_TARGET)
                assert positions[here] == here - first
                assert [other == ids[here] for other in ids] == [other == documents[here] for other in documents]


def test_each_training_token_is_a_target_once_an_epoch(manifest: Manifest, lists: list[list[int]]) -> None:
    """With a document mask all but the documents' first tokens; without one all but the very first."""
    firsts = {document[0] for document in lists}
    for mask, left_out in ((False, {0}), (True, firsts)):
        plan = plan_of(manifest, 16, document_mask=mask)
        found = batches(plan, plan.stretches[0].samples[""], micro_batch_size=1)
        targets = [t for batch in found for t in batch.targets.flatten().tolist() if t != NO_TARGET]
        assert sorted(targets) == [token for token in range(TOTAL) if token not in left_out]
        assert sum(batch.target_count for batch in found) == len(targets)


def test_a_micro_batch_that_does_not_divide_is_refused(manifest: Manifest) -> None:
    """24 samples on 2 ranks are 12 each: not in fives."""
    with pytest.raises(UserError, match=r"wanted: +a divisor of 12"):
        Loader(plan_of(manifest), rank=0, world=2, micro_batch_size=5)


def test_few_shards_stay_open(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for one open shard the batches are the same: a corpus may have more shards than descriptors."""
    wanted = rows(batches(plan_of(manifest, document_mask=True), 24))
    monkeypatch.setattr(shard_pool, "OPEN_SHARDS", 1)
    assert rows(batches(plan_of(manifest, document_mask=True), 24)) == wanted


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_altered_data_stops_the_batches_by_name(tmp_path: Path, dtype: str) -> None:
    """The error of the reading thread reaches the consumer, and the thread ends."""
    write_corpus(tmp_path, {"law": [[50, 50]]}, dtype=dtype)
    path = tmp_path / "train/law-00000.bin"
    content = bytearray(path.read_bytes())
    content[60] ^= 4
    path.write_bytes(content)
    manifest = open_manifest(tmp_path)
    with pytest.raises(UserError, match=r"law-00000\.bin: altered since it was written"):
        batches(plan_of(manifest), 1)
    assert prefetch_threads() == []


def test_leaving_a_loader_ends_its_thread(manifest: Manifest) -> None:
    """After one batch of an endless sequence; and its samples can be read anew."""
    loader = Loader(plan_of(manifest), rank=0, world=1, micro_batch_size=3)
    first = next(iter(loader))
    assert torch.equal(next(iter(loader)).tokens, first.tokens)
    assert len(prefetch_threads()) == 1
    loader.close()
    assert prefetch_threads() == []


def test_bare_megatron_shards_train(tmp_path: Path) -> None:
    """Without manifest, checksums, tokenizer: the same batches."""
    write_corpus(tmp_path, {"law": [[7, 1, 30, 12]]})
    sealed = rows(batches(plan_of(open_manifest(tmp_path), document_mask=True), 8, micro_batch_size=1))
    for path in (*tmp_path.glob("*.*"), *tmp_path.rglob("*.crc")):
        path.unlink()
    bare = batches(plan_of(open_manifest(tmp_path), document_mask=True), 8, micro_batch_size=1)
    orders = [sorted(row for row in found if EOS not in row and row[-1] != 0) for found in (sealed, rows(bare))]
    assert orders[0] == orders[1] != []


def test_a_batch_moves_to_a_device(manifest: Manifest) -> None:
    """All of its tensors, and what is None stays None."""
    (batch,) = batches(plan_of(manifest, document_mask=True), 1)
    moved = batch.to("meta")
    assert {moved.tokens.device.type, moved.targets.device.type} == {"meta"}
    assert moved.positions is not None
    assert moved.document_ids is not None
    assert moved.target_count == batch.target_count
    assert batches(plan_of(manifest), 1)[0].to("meta").positions is None


def prefetch_threads() -> list[threading.Thread]:
    """The threads that prepare batches now."""
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """No test leaves a thread behind."""
    yield
    assert prefetch_threads() == []


def test_batches_follow_the_phases(manifest: Manifest) -> None:
    """Batch, micro-batch and sequence length change at the borders, on every rank, and the run ends where it ends."""
    phases = Phases(
        (Phase(0, 1, 0, 0, 4, None, 16), Phase(0, 3, 8, 128, 8, 2, 16), Phase(1, 4, 16, 256, 4, 1, 8)),
        total_steps=5,
    )
    plan = DataPlan(manifest, phases, seed=3)
    shapes = {1: [(2, 16)], 2: [(2, 16)], 3: [(2, 16)] * 2, 4: [(1, 8)] * 2, 5: [(1, 8)] * 2}
    for rank in range(2):
        with Loader(plan, rank=rank, world=2) as loader:
            found = [[tuple(batch.tokens.shape) for batch in step] for step in loader.steps()]
        assert found == list(shapes.values())
        with Loader(plan, rank=rank, world=2, start_step=4) as loader:
            assert [len(step) for step in loader.steps()] == [2, 2]
    with pytest.raises(UserError, match="does not divide"):
        Loader(plan, world=8)


def test_a_folder_of_shards_is_read_in_three_lines(manifest: Manifest) -> None:
    """Without a recipe; two ranks' batches are together what one rank reads at twice the batch size."""
    with Loader.of_folder(manifest.folder, sequence_length=16, batch_size=4, steps=3) as loader:
        alone = list(loader)
    assert [tuple(batch.tokens.shape) for batch in alone] == [(4, 16)] * 3
    halves = []
    for rank in range(2):
        with Loader.of_folder(manifest.folder, sequence_length=16, batch_size=2, steps=3, rank=rank, world=2) as loader:
            halves.append(list(loader))
    assert rows(alone) == [row for pair in zip(*halves, strict=True) for row in rows(list(pair))]
    mixed = Loader.of_folder(manifest.folder, sequence_length=16, batch_size=4, mixture={"web": 1}, steps=1)
    with mixed:
        assert mixed.plan.sources == ["law", "web"]
        assert [batch.source_ids.tolist() for batch in mixed] == [[1] * 4]


@pytest.mark.parametrize("mixture", [None, {"law": 1, "web": 2}])
def test_a_batch_says_which_source_each_sample_is_from(manifest: Manifest, mixture: Mapping[str, float] | None) -> None:
    """By its first token; with it the targets of each sample, which add up."""
    plan = plan_of(manifest, 16, mixture=mixture, document_mask=True)
    law = 50 + 25 + 9
    for batch in batches(plan, 12):
        assert batch.source_ids.dtype == torch.int64
        assert batch.source_ids.tolist() == [int(row[0] >= law) for row in batch.tokens.tolist()]
        assert torch.equal(batch.target_counts_B, (batch.targets != NO_TARGET).sum(1))
        assert int(batch.target_counts_B.sum()) == batch.target_count


def test_slices_of_a_batch_are_its_positions(manifest: Manifest) -> None:
    """Two halves put together are the whole; without a document mask the second half's positions go on.

    The document ids stay whole: attention looks at all of a sample.
    """
    for mask in (False, True):
        (batch,) = batches(plan_of(manifest, document_mask=mask), 1)
        halves = [batch.slice(0, 8), batch.slice(8, 16)]
        assert torch.equal(torch.cat([half.tokens for half in halves], 1), batch.tokens)
        assert torch.equal(torch.cat([half.targets for half in halves], 1), batch.targets)
        assert sum(half.target_count for half in halves) == batch.target_count
        assert torch.equal(halves[0].target_counts_B + halves[1].target_counts_B, batch.target_counts_B)
        positions = torch.cat([half.positions for half in halves if half.positions is not None], 1)
        whole = torch.arange(16).expand(3, 16) if batch.positions is None else batch.positions
        assert torch.equal(positions, whole)
        assert all(half.document_ids is batch.document_ids for half in halves)
