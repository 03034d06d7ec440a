"""Examples are learned whole and where they should be: packed, unpacked, resumed, audited, on any number of ranks."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from clapas.loader.loader import Loader
from clapas.loader.packing import Packed, Packing, best_fit
from clapas.loader.shard_pool import ShardPool
from clapas.recipe.errors import UserError
from clapas_data.examples import LAST_TURN, column
from clapas_data.manifest import Manifest, open_manifest
from clapas_data.verify import verify
from commands import Clapas
from tune.examples import conversations, write_folder


@pytest.fixture(scope="session")
def dialogues(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 60 conversations, 8 of them held out."""
    folder = tmp_path_factory.mktemp("examples") / "dialogues"
    write_folder(folder, test_data / "tokenizer", conversations(60), held_out=8)
    return folder


def rows(run: Path) -> list[dict[str, float]]:
    """The steps of a run."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [row for line in lines if "grad_norm" in (row := json.loads(line))]


def documents(manifest: Manifest, split: str) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Number -> tokens and turns of each document of a split."""
    pool, found = ShardPool(manifest), {}
    for place in manifest.of_split(split):
        shard, targets = pool[place], pool.targets(place)
        assert targets is not None
        borders = [*shard.document_starts(0, shard.record.tokens), shard.record.tokens]
        for number, (start, stop) in enumerate(pairwise(borders)):
            found[pool.documents_before(place) + number] = (shard.read(start, stop), targets.read(start, stop))
    return found


@pytest.mark.parametrize("packing", ["best_fit", "none"])
def test_every_example_is_read_whole_once_an_epoch(dialogues: Path, packing: str) -> None:
    """Each token that is learned is a target exactly once, from the tokens of its own document."""
    manifest = open_manifest(dialogues)
    wanted = documents(manifest, "train")
    loader = Loader.of_folder(dialogues, sequence_length=128, batch_size=1, packing=packing, document_mask=True)  # pyright: ignore
    samples = loader.plan.stretches[0].samples[""]
    seen: list[int] = []
    with loader:
        for batch, _ in zip(loader, range(samples), strict=False):
            assert batch.documents is not None
            assert batch.segments is not None
            assert batch.turns is not None
            for segment, number in enumerate(batch.documents.tolist()):
                tokens, turns = wanted[number]
                inside = batch.segments[0] == segment
                np.testing.assert_array_equal(batch.tokens[0][inside], tokens[: int(inside.sum())])
                learned = tokens[1:][turns[1:] > 0]
                targets = batch.targets[0][inside]
                np.testing.assert_array_equal(targets[targets >= 0], learned)
                assert batch.turns[0][inside].max() == 1
                seen.append(number)
            assert batch.target_count == int((batch.targets >= 0).sum())
    assert sorted(seen) == sorted(wanted)


def test_the_examples_of_a_sample_are_of_one_source(test_data: Path, tmp_path: Path) -> None:
    """So that `loss/SOURCE` is that source's; nothing is lost by it, and audit finds every example's sample."""
    manifest = write_folder(tmp_path / "two", test_data / "tokenizer", conversations(40), sources=("lois", "forums"))
    packed = Packed(manifest, "", manifest.of_split("train"), Packing("best_fit"))
    found = [packed.sample(place, 128) for place in range(packed.samples(128))]
    assert all(len({manifest.shards[span.shard].source for span in spans}) == 1 for spans in found)
    assert {spans[0].shard for spans in found} == {0, 1}
    assert len({span for spans in found for span in spans}) == 40
    assert all(packed.cells(span, 128) == [place] for place, spans in enumerate(found) for span in spans)


def test_best_fit_packs_as_well_as_an_exhaustive_search_would() -> None:
    """No sample overflows, and no two could have shared one."""
    lengths = np.random.default_rng(0).integers(1, 60, 500)
    order, offsets = best_fit(lengths, np.arange(500), 64)
    fills = [int(lengths[order[a:b]].sum()) for a, b in pairwise(offsets)]
    assert sorted(order) == list(range(500))
    assert max(fills) <= 64
    low, next_low = sorted(fills)[:2]
    assert low + next_low > 64


def test_the_loss_does_not_depend_on_packing_or_ranks(clapas: Clapas, dialogues: Path, tmp_path: Path) -> None:
    """All conversations in one step: packed, one by one, and on two ranks, the first loss is the same."""
    first = {}
    train = 60 - 8
    for name, settings in {
        "none": ["data.packing=none", f"train.global_batch_size={train}"],
        "two ranks": ["data.packing=none", f"train.global_batch_size={train}", "--nproc", "2", "parallel.zero_stage=3"],
    }.items():
        run = tmp_path / name
        arguments = ["objective.name=sft", f"data.path={dialogues}", f"run_dir={run}", "train.steps=2"]
        arguments += ["schedule.warmup_steps=0"]
        result = clapas("train", "test", *arguments, *settings, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        first[name] = rows(run)[0]["loss"]
    loader = Loader.of_folder(dialogues, sequence_length=128, batch_size=1, packing="best_fit", document_mask=True)
    packs = loader.plan.stretches[0].samples[""]
    run = tmp_path / "packed"
    arguments = ["objective.name=sft", f"data.path={dialogues}", f"run_dir={run}", "train.steps=2"]
    arguments += ["schedule.warmup_steps=0", f"train.global_batch_size={packs}"]
    result = clapas("train", "test", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    first["packed"] = rows(run)[0]["loss"]
    assert first["two ranks"] == pytest.approx(first["none"], rel=1e-6)
    assert first["packed"] == pytest.approx(first["none"], rel=1e-6)


def test_examples_are_audited_and_verified(clapas: Clapas, dialogues: Path, tmp_path: Path) -> None:
    """A step can be asked for its conversations; the run validates on those held out; every file has a hash."""
    arguments = ["objective.name=sft", f"data.path={dialogues}", "run_dir=run", "train.steps=4"]
    result = clapas("train", "test", *arguments, "schedule.warmup_steps=0", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    result = clapas("audit", "run", "--step", 2, "--json", cwd=tmp_path)
    read = json.loads(result.stdout)
    assert {row["id"] for row in read} <= set(column(open_manifest(dialogues), "id"))
    assert len(read) > 8
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["split"] for row in lines if "split" in row] == ["heldout"]
    names = [path.name for path in dialogues.rglob("*.targets.*")]
    assert len(names) == 6
    assert verify(dialogues).files > 12
    assert LAST_TURN == 255


def test_what_is_cut_before_its_answer_is_dropped(test_data: Path, tmp_path: Path) -> None:
    """It would fill a sample and teach nothing; of the others the beginning stays."""
    texts = [("?", "Oui. " * 200), ("Pourquoi ? " * 200, "Oui."), ("?", "Oui.")]
    manifest = write_folder(tmp_path / "data", test_data / "tokenizer", [(text,) for text in texts])
    counts = Packed(manifest, "", manifest.of_split("train"), Packing("none", "truncate")).counts(64)
    assert (counts["dropped"], counts["truncated"], counts["samples"]) == (1, 1, 2)


def test_a_source_of_which_no_example_fits_hinders_no_other(test_data: Path, tmp_path: Path) -> None:
    """Its examples are counted as dropped; where nothing of any source fits, that is one message."""
    texts = [[("?", "Oui. " * (1 if source == 1 else 200))] for _ in range(3) for source in range(3)]
    manifest = write_folder(
        tmp_path / "data", test_data / "tokenizer", [tuple(text) for text in texts], sources=("a", "b", "c")
    )
    packed = Packed(manifest, "", manifest.of_split("train"), Packing("best_fit"))
    counts = packed.counts(64)
    assert (counts["examples"], counts["dropped"], counts["samples"]) == (9, 6, 1)
    assert len(packed.sample(0, 64)) == 3
    with pytest.raises(UserError, match="no example of the split fits"):
        packed.samples(2)


def test_held_out_examples_that_do_not_fit_are_told_at_the_start(
    clapas: Clapas, test_data: Path, tmp_path: Path
) -> None:
    """Not at the first validation, when hours may have gone by."""
    (long,) = conversations(1)
    texts = [*conversations(8), ((long[0][0], long[0][1] * 200),)]
    write_folder(tmp_path / "data", test_data / "tokenizer", texts, held_out=1)
    arguments = ["objective.name=sft", "data.path=data", "run_dir=run", "schedule.warmup_steps=0"]
    result = clapas("train", "test", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert "for evaluation.split heldout: no example" in result.stderr
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_examples_are_no_running_text(clapas: Clapas, dialogues: Path, tmp_path: Path) -> None:
    """Pretraining on conversations would cut them anywhere: it is refused."""
    result = clapas("train", "test", f"data.path={dialogues}", "run_dir=run", cwd=tmp_path)
    assert result.returncode == 2
    assert "not running text" in result.stderr
