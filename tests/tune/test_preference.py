"""Preference runs: the same whatever the splits, resumed bit for bit, with a reference that is made once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.numpy import load
from tests.evaluate.small import CONFIG, write_model

from clapas.loader.loader import Loader
from clapas.plan.plan import plan
from clapas.recipe.recipe import read_recipe
from clapas.tune.mismatched import Mismatched
from clapas.tune.orpo import chosen_targets, log1mexp
from clapas.tune.preference import document_counts, pair_counts
from clapas_data.manifest import open_manifest
from commands import Clapas, clapas_environment, python
from tune.examples import conversations, labelled, pairs, write_folder

COUNT, HELD_OUT = 24, 4
BASE = ("schedule.warmup_steps=0", "train.steps=4", "checkpoint.every=2", "evaluation.every=4", "optimizer.lr=1e-3")


@pytest.fixture(scope="session")
def folders(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of `pairs`, `labelled` answers and `conversations`, some of each held out."""
    folder, tokenizer = tmp_path_factory.mktemp("preference"), test_data / "tokenizer"
    write_folder(folder / "pairs", tokenizer, pairs(COUNT), kind="pairs", held_out=HELD_OUT)
    texts, values = labelled(COUNT)
    columns = {"label": pa.bool_()}
    write_folder(
        folder / "labelled", tokenizer, texts, kind="labelled", held_out=HELD_OUT, columns=columns, values=values
    )
    write_folder(folder / "conversations", tokenizer, conversations(8))
    return folder


def train(clapas: Clapas, folders: Path, run: Path, objective: str, *settings: object) -> list[dict[str, Any]]:
    """Train; returns the rows of metrics.jsonl."""
    data = folders / ("labelled" if objective == "kto" else "pairs")
    arguments = ("train", "test", f"objective.name={objective}", f"data.path={data}", f"run_dir={run}", *BASE)
    result = clapas(*arguments, *settings, cwd=run.parent)
    assert result.returncode == 0, result.stderr
    return rows(run)


def rows(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def events(run: Path, name: str) -> list[dict[str, Any]]:
    """The ledger's events of a name."""
    lines = [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == name]


def exact(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What of rows must not differ by a bit."""
    keys = ("step", "loss", "grad_norm", "rewards/chosen", "rewards/rejected", "rewards/margins", "split", "kl")
    return [tuple(row.get(key) for key in keys) for row in found]


def test_pairs_stay_together_in_batches(folders: Path) -> None:
    """A batch's documents are preferred, other, preferred, other; each sample knows how many pairs it has."""
    with Loader.of_folder(
        folders / "pairs", sequence_length=128, batch_size=3, packing="best_fit", document_mask=True
    ) as loader:
        batch = next(iter(loader))
    assert batch.documents is not None
    assert batch.segments is not None
    np.testing.assert_array_equal(batch.documents[1::2], batch.documents[0::2] + 1)
    assert not (batch.documents[0::2] % 2).any()
    in_rows = [len(set(row[row >= 0].tolist())) for row in batch.segments]
    assert document_counts(batch).tolist() == in_rows
    assert pair_counts(batch).tolist() == [count // 2 for count in in_rows]


def test_orpo_learns_the_prompt_of_the_chosen_document_too(folders: Path) -> None:
    """Each token of a preferred document but its first is a target once; none of the others'."""
    with Loader.of_folder(
        folders / "pairs", sequence_length=128, batch_size=3, packing="best_fit", document_mask=True
    ) as loader:
        batch = next(iter(loader))
    assert batch.segments is not None
    targets = chosen_targets(batch)
    for segment in range(int(batch.segments.max()) + 1):
        inside = batch.segments == segment
        found = targets[inside]
        if segment % 2:
            assert (found == -100).all()
        else:
            assert found[:-1].tolist() == batch.tokens[inside].tolist()[1:]


def test_orpo_bears_an_answer_that_the_model_is_sure_of() -> None:
    """Its log-probability is rounded to 0, and 1 - p with it; loss and gradient stay numbers."""
    logps = torch.tensor([0.0, -1e-9, -0.5], requires_grad=True)
    (logps - log1mexp(logps)).sum().backward()
    assert logps.grad is not None
    assert logps.grad.isfinite().all()


def test_mismatched_documents_keep_their_prompt_and_take_the_answer_before(folders: Path) -> None:
    """A prompt, then the previous document's answer, whose tokens alone are targets; cut to what fits."""
    manifest = open_manifest(folders / "labelled")
    with Loader.of_folder(
        folders / "labelled", sequence_length=128, batch_size=50, packing="none", document_mask=True
    ) as loader:
        batch = next(iter(loader))
    assert batch.documents is not None
    first = manifest.shards[manifest.of_split("train")[0]]
    parts = {}
    for number, tokens, targets in zip(batch.documents.tolist(), batch.tokens, batch.targets, strict=False):
        begin = int((targets >= 0).int().argmax()) + 1
        parts.setdefault(number, (tokens[:begin].tolist(), targets[targets >= 0].tolist()))
    numbers = sorted(parts)
    assert len(numbers) == first.documents
    found = Mismatched(manifest, ["train"], 128).batch(numbers[:3])
    assert found.segments is not None
    for place, number in enumerate(numbers[:3]):
        inside = found.segments == place
        prompt, answer = parts[number][0], parts[numbers[place - 1]][1]
        assert found.tokens[inside].tolist()[: len(prompt)] == prompt
        targets = found.targets[inside]
        assert targets[targets >= 0].tolist() == answer
    short = Mismatched(manifest, ["train"], 20).batch(numbers)
    assert short.tokens.shape[1] <= 20


def test_a_dpo_run_begins_at_its_reference_and_resumes_to_the_bit(
    clapas: Clapas, folders: Path, tmp_path: Path
) -> None:
    """The first loss is log 2; the reference is made once; going on after step 2 gives what an undisturbed run gave."""
    whole = train(clapas, folders, tmp_path / "whole", "dpo")
    assert whole[0]["loss"] == pytest.approx(np.log(2), abs=1e-6)
    assert whole[0]["rewards/margins"] == pytest.approx(0, abs=1e-5)
    assert whole[-2]["rewards/margins"] > 0.01
    assert {"loss", "rewards/accuracies", "rewards/margins"} <= whole[-1].keys()
    assert whole[-1]["split"] == "heldout"
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    shutil.rmtree(tmp_path / "resumed/checkpoints/step-00000004")
    resumed = train(clapas, folders, tmp_path / "resumed", "dpo")
    assert exact(resumed) == exact(whole)
    (event,) = events(tmp_path / "resumed", "reference")
    assert event["documents"] == 2 * COUNT
    (evaluation,) = events(tmp_path / "whole", "evaluation")
    assert evaluation["rewards/accuracies"] == whole[-1]["rewards/accuracies"]


@pytest.mark.parametrize("damage", ["gone", "altered", "another run's"])
def test_a_run_that_has_lost_its_reference_refuses(
    clapas: Clapas, folders: Path, trained_dpo: Path, tmp_path: Path, damage: str
) -> None:
    """After the first checkpoint the weights that made it are gone: what is wrong is named, with the way out."""
    run = tmp_path / "run"
    shutil.copytree(trained_dpo, run)
    path = run / "reference.safetensors"
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "altered":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        identity = load_identity(content)
        path.write_bytes(content.replace(identity.encode(), b"0" * len(identity)))
    shutil.rmtree(run / "checkpoints/step-00000004")
    arguments = ("train", "test", "objective.name=dpo", f"data.path={folders / 'pairs'}", f"run_dir={run}", *BASE)
    result = clapas(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert "reference.safetensors" in result.stderr
    assert "Traceback" not in result.stderr
    expected = {"gone": "not there", "altered": "not those that were written", "another run's": "of another run"}
    assert expected[damage] in result.stderr


def load_identity(content: bytes) -> str:
    """The identity in a reference's metadata."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return header["__metadata__"]["identity"]


@pytest.fixture(scope="module")
def trained_dpo(clapas: Clapas, folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished DPO run. Copy it, do not change it."""
    run = tmp_path_factory.mktemp("dpo") / "run"
    train(clapas, folders, run, "dpo")
    return run


STAGES = "stages=[{steps: 4}, {steps: 2, schedule: {name: linear}%s}]"


def test_a_run_that_gets_a_stage_keeps_its_reference(
    clapas: Clapas, folders: Path, trained_dpo: Path, tmp_path: Path
) -> None:
    """The finished run goes on through the new stage and reads what its first segment stored, to the bit."""
    run = tmp_path / "run"
    shutil.copytree(trained_dpo, run)
    found = train(clapas, folders, run, "dpo", "train.steps=null", STAGES % "")
    assert [row["step"] for row in found if "split" not in row] == [1, 2, 3, 4, 5, 6]
    assert (run / "reference.safetensors").read_bytes() == (trained_dpo / "reference.safetensors").read_bytes()
    identities = {event["identity"] for event in events(run, "segment_start")}
    assert len(identities) == 2
    assert load_identity((run / "reference.safetensors").read_bytes()) in identities
    assert len(events(run, "reference")) == 1


@pytest.mark.slow
def test_a_stage_of_longer_samples_needs_another_reference_for_kto(
    clapas: Clapas, folders: Path, tmp_path: Path
) -> None:
    """Mismatched answers are cut to the longest sample: at another cut they are not what the policy is asked."""
    run = tmp_path / "run"
    train(clapas, folders, run, "kto", "data.sequence_length=64")
    arguments = ("train", "test", "objective.name=kto", f"data.path={folders / 'labelled'}", f"run_dir={run}", *BASE)
    longer = STAGES % ", sequence_length: 128"
    result = clapas(*arguments, "data.sequence_length=64", "train.steps=null", longer, cwd=tmp_path)
    assert result.returncode == 2
    assert "mismatched answers were cut at 64 tokens, and a stage now reads 128" in result.stderr


@pytest.mark.parametrize(
    ("objective", "data", "kind"),
    [
        ("dpo", "conversations", "pairs"),
        ("kto", "pairs", "labelled"),
        ("sft", "pairs", "conversations"),
        ("language_modelling", "pairs", "conversations"),
    ],
)
def test_other_data_are_refused_by_name(
    clapas: Clapas, folders: Path, tmp_path: Path, objective: str, data: str, kind: str
) -> None:
    """What the objective reads, what was found, and how to make it."""
    arguments = [f"objective.name={objective}", f"data.path={folders / data}", "data.packing=best_fit", "run_dir=run"]
    result = clapas("train", "test", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert f"objective {objective} cannot read these data" in result.stderr
    assert f"clapas data chat --kind {kind}" in result.stderr
    assert not (tmp_path / "run").exists()


def test_ranks_that_share_a_sequence_are_refused(clapas: Clapas, folders: Path, tmp_path: Path) -> None:
    """No rank would hold a whole document: said before anything begins."""
    arguments = ("train", "test", "objective.name=kto", f"data.path={folders / 'labelled'}", "run_dir=run")
    result = clapas(*arguments, "parallel.sequence=2", cwd=tmp_path)
    assert result.returncode == 2
    assert "parallel.sequence" in result.stderr
    assert "whole documents" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["dpo", "ipo", "kto", "orpo"])
def test_ranks_stages_and_micro_batches_change_nothing(
    clapas: Clapas, folders: Path, tmp_path: Path, objective: str
) -> None:
    """One rank at once, in micro-batches, and two ranks at ZeRO-1 and 3: the same steps but for rounding."""
    settings = ("train.global_batch_size=4",)
    wanted = train(clapas, folders, tmp_path / "one", objective, *settings)
    variants = {
        "micro": ("train.micro_batch_size=1",),
        "zero1": ("--nproc", 2, "parallel.zero_stage=1"),
        "zero3": ("--nproc", 2, "parallel.zero_stage=3", "train.micro_batch_size=1"),
    }
    for name, more in variants.items():
        found = train(clapas, folders, tmp_path / name, objective, *settings, *more)
        assert len(found) == len(wanted)
        for row, other in zip(found, wanted, strict=True):
            for key in ("loss", "grad_norm", "rewards/chosen", "rewards/margins", "kl"):
                if key in other:
                    assert row[key] == pytest.approx(other[key], rel=2e-4, abs=2e-5), (name, key)


@pytest.mark.slow
@pytest.mark.parametrize(("objective", "stage"), [("kto", 3), ("dpo", 2), ("orpo", 0)])
def test_resumes_are_exact_on_two_ranks(
    clapas: Clapas, folders: Path, tmp_path: Path, objective: str, stage: int
) -> None:
    """Stopped after step 2, gone on with: not a bit differs."""
    settings = ("--nproc", 2, f"parallel.zero_stage={stage}", "train.global_batch_size=4")
    whole = train(clapas, folders, tmp_path / "whole", objective, *settings)
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    shutil.rmtree(tmp_path / "resumed/checkpoints/step-00000004")
    assert exact(train(clapas, folders, tmp_path / "resumed", objective, *settings)) == exact(whole)


@pytest.mark.slow
def test_adapters_have_their_base_as_reference(clapas: Clapas, tmp_path: Path) -> None:
    """A LoRA run begins at log 2, its frozen head in one pass, and goes on to the bit from what it stored."""
    write_model(tmp_path / "base", CONFIG.model_copy(update={"max_position_embeddings": 512}))
    write_folder(tmp_path / "pairs", tmp_path / "base", pairs(8), kind="pairs", held_out=2)
    sections: dict[str, Any] = {
        "name": "adapters",
        "model": {"from": "base"},
        "lora": {"rank": 4},
        "objective": {"name": "dpo"},
        "data": {"path": "pairs", "sequence_length": 512},
        "optimizer": {"lr": 1e-2},
        "schedule": {"name": "constant", "warmup_steps": 0},
        "train": {"steps": 4, "global_batch_size": 2, "threads": 1},
        "checkpoint": {"every": 2, "keep": 9},
        "evaluation": {"every": 4},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(sections))
    arguments = ("train", "recipe.yaml", "--nproc", 2, "parallel.zero_stage=3")
    for name in ("whole", "resumed"):
        if name == "resumed":
            shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
            shutil.rmtree(tmp_path / "resumed/checkpoints/step-00000004")
        result = clapas(*arguments, f"run_dir={name}", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    whole = rows(tmp_path / "whole")
    assert whole[0]["loss"] == pytest.approx(np.log(2), abs=1e-6)
    assert whole[-2]["loss"] < np.log(2) - 1e-3
    assert exact(rows(tmp_path / "resumed")) == exact(whole)


KILLED = """
import os, signal, sys
from pathlib import Path
from clapas.cli import main
from clapas.recipe import files
if sys.argv.pop(1) == "before":
    import clapas.tune.reference as reference
    reference.Reference._pass = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
else:  # the bytes are written, the name is not
    rename = Path.replace
    def replace(self, target):
        if Path(target).name == "reference.safetensors":
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, target)
    Path.replace = replace
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "while written"])
def test_a_kill_while_the_reference_is_made_leaves_no_half_file(
    clapas: Clapas, folders: Path, tmp_path: Path, trained_dpo: Path, moment: str
) -> None:
    """The next start makes it anew, the same to the bit."""
    import subprocess

    run = tmp_path / "run"
    arguments = ("train", "test", "objective.name=dpo", f"data.path={folders / 'pairs'}", f"run_dir={run}", *BASE)
    command = [python(), "-c", KILLED, moment.split()[0], *arguments]
    killed = subprocess.run(command, cwd=tmp_path, env=clapas_environment(), capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert not (run / "reference.safetensors").exists()
    assert exact(train(clapas, folders, run, "dpo")) == exact(rows(trained_dpo))
    wanted, found = (load((folder / "reference.safetensors").read_bytes()) for folder in (trained_dpo, run))
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name])


def test_a_plan_counts_the_pass_of_the_reference() -> None:
    """DPO holds no second model, and costs a third of an epoch more than ORPO, which has no reference."""
    found: dict[str, Any] = {}
    for objective in ("dpo", "orpo", "kto"):
        recipe = read_recipe("tune/dpo-7b", [f"objective.name={objective}"])
        found[objective] = plan(recipe, "jean-zay", 2)["as_written"]
    assert found["dpo"]["gpu_hours"] == pytest.approx(found["orpo"]["gpu_hours"] * 4 / 3, rel=0.02)
    assert found["dpo"]["memory_bytes"] == found["orpo"]["memory_bytes"]
    assert found["dpo"]["step_seconds"] == found["orpo"]["step_seconds"]
    assert found["kto"]["gpu_hours"] == pytest.approx(found["orpo"]["gpu_hours"] * 2, rel=0.02)
