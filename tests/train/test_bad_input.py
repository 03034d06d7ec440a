"""Every mistake of the user's: one clear message, exit 2, no traceback, nothing half written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clapas.checkpoint.committed import committed_checkpoints
from clapas.loader.plan import DataPlan
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import read_recipe
from clapas.train.other_run import refuse_other_run
from clapas.train.run_folder import RunFolder, read_outcome
from commands import Clapas, clapas_environment, python

SMALL = (
    "train.steps=6",
    "schedule.warmup_steps=2",
    "checkpoint.every=3",
    "evaluation.every=100",
)


@pytest.fixture
def train(tmp_path: Path, clapas: Clapas, test_data: Path) -> Any:
    """Train the test recipe on a copy of the shards; returns the finished process."""
    shutil.copytree(test_data, tmp_path / "data")

    def run(*overrides: str, nproc: int = 1, recipe: str = "test") -> subprocess.CompletedProcess[str]:
        return clapas(
            "train", recipe, "data.path=data", "run_dir=run", *SMALL, *overrides, "--nproc", nproc, cwd=tmp_path
        )

    return run


def assert_refused(result: subprocess.CompletedProcess[str], *words: str, code: int = 2) -> None:
    """Exit code, every word in the message, no traceback, the message told once."""
    assert result.returncode == code, result.stderr
    for word in words:
        assert word in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("clapas: ") == 1


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimizer.learning_rat=1", ("optimizer.learning_rat: unknown key", "did you mean optimizer.lr?")),
        ("model.hiden_size=1", ("model.hiden_size: unknown key", "did you mean model.hidden_size?")),
        ("train.steps=many", ("command line: train.steps: found 'many'", "valid integer")),
        ("train.tokens=1000", ("steps and tokens: both given",)),
        ("train.micro_batch_size=3", ("micro_batch_size 3 does not divide global_batch_size 8",)),
        ("precision=fp8", ("precision: fp8 is not offered yet", "precision: bf16")),
        ("parallel.zero_stage=4", ("parallel.zero_stage: found 4", "0, 1, 2 or 3")),
        ("model.num_attention_heads=5", ("num_attention_heads: found 5; must divide hidden_size, which is 64",)),
        ("model.num_key_value_heads=3", ("num_key_value_heads: found 3; must divide num_attention_heads, which is 4",)),
        ("data.sequence_length=129", ("data.sequence_length: found 129", "max_position_embeddings, which is 128")),
        ("schedule.warmup_steps=6", ("schedule.warmup_steps: found 6; must be under the run's 6 steps",)),
        ("schedule={name: linear, warmup_tokens: 6000}", ("schedule.warmup_tokens: found 6000, which are 6 steps",)),
        ("optimizer={name: lion, eps: 1e-8}", ("optimizer: eps: has no meaning with name: lion",)),
        ("optimizer.name=schedule_free", ("schedule.name: found cosine; must be constant",)),
        ("optimizer.mup={base_width: 32}", ("model.tie_word_embeddings: found true; must be false",)),
        ("schedule.decay_ratio=0.1", ("decay_ratio: has no meaning with name: cosine",)),
        ("data.path=nowhere", ("nowhere: no such corpus folder", "clapas data build")),
        ("model.vocab_size=2000", ("more token ids than the model has", "model.vocab_size=2048")),
        ("data.mixture={nobody: 1}", ("no such source", "nobody", "fiches-travail")),
    ],
)  # fmt: skip
def test_a_wrong_recipe_is_refused_before_anything_starts(
    train: Any, tmp_path: Path, override: str, words: tuple[str, ...]
) -> None:
    """Each mistake by its own message; the run's folder is not even made."""
    assert_refused(train(override), *words)
    assert not (tmp_path / "run").exists()


def test_ranks_that_are_refused_say_so_to_their_launcher(tmp_path: Path) -> None:
    """In outcome.json, for srun hides their code; but not where others train, and no folder is made for it."""
    environment = {**clapas_environment(), "RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    command = [python(), "-m", "clapas", "train", "test", "data.path=nowhere", "run_dir=run"]

    def refused() -> None:
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert_refused(result, "nowhere: no such corpus folder")

    refused()
    assert not (tmp_path / "run").exists()
    other = RunFolder(tmp_path / "run")
    refused()
    assert read_outcome(other.path) is None
    other.close()
    refused()
    outcome = read_outcome(other.path)
    assert outcome
    assert (outcome["exit_code"], outcome["reason"]) == (2, "nowhere: no such corpus folder")


def test_a_batch_that_ranks_cannot_share(train: Any) -> None:
    """Names the ranks and the nearest batch that fits."""
    assert_refused(train("train.global_batch_size=9", nproc=2), "9 samples on 2 ranks", "train.global_batch_size=10")


def test_no_such_recipe(train: Any) -> None:
    """Names those that ship."""
    assert_refused(train(recipe="tets"), "no such file", "one of: demo, pretrain/french-13b", "did you mean test?")


def test_a_sequence_longer_than_the_text(train: Any) -> None:
    """There would be no sample."""
    long = ("data.sequence_length=2000000", "model.max_position_embeddings=2000000")
    assert_refused(train(*long), "2,000,000", "longer than", "less than")


def test_a_shard_cut_short_is_found_when_opened(train: Any, tmp_path: Path) -> None:
    """Names the file and both sizes."""
    path = next((tmp_path / "data/train").glob("*.bin"))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size - 2)
    assert_refused(train(), path.name, f"{size - 2:,}", f"{size:,}")
    assert not (tmp_path / "run").exists()


def test_an_altered_shard_is_found_when_the_block_is_read(train: Any, tmp_path: Path) -> None:
    """Every block altered, so that the first batch meets one: refused by name, on every rank alike."""
    path = next((tmp_path / "data/train").glob("*.bin"))
    content = bytearray(path.read_bytes())
    for place in range(0, len(content), 4096):
        content[place] ^= 1
    path.write_bytes(bytes(content))
    assert_refused(train(), path.name, "altered")


def test_a_rank_that_fails_alone_says_so_and_its_code_counts(train: Any, tmp_path: Path) -> None:
    """Only blocks that rank 1 reads in the first step are altered: its message, exit 2, and no traceback of rank 0."""
    data = tmp_path / "data"
    recipe = read_recipe("test", [f"data.path={data}"])
    plan = DataPlan.of_recipe(recipe)
    blocks = [{span.start * 2 // 65536 for index in plan.rank_interval(1, rank, 2) for span in plan.spans(index)}
              for rank in (0, 1)]  # fmt: skip
    path = next((data / "train").glob("*.bin"))
    content = bytearray(path.read_bytes())
    content[min(blocks[1] - blocks[0]) * 65536 + 7] ^= 1
    path.write_bytes(bytes(content))
    result = train(nproc=2)
    assert result.returncode == 2, result.stderr
    assert "clapas (rank 1): " in result.stderr
    assert "altered" in result.stderr
    assert "another rank has ended" in result.stderr
    assert "Traceback" not in result.stderr


def test_bare_megatron_shards_train_and_unknown_ids_are_refused(train: Any, tmp_path: Path) -> None:
    """Shards without a manifest are read as they are; an id beyond the model's vocabulary is told, not looked up."""
    (tmp_path / "bare").mkdir()
    for path in (tmp_path / "data/train").iterdir():
        if path.suffix in (".bin", ".idx"):
            shutil.copy(path, tmp_path / "bare")
    refused = train("data.path=bare", "run_dir=small", "model.vocab_size=300")
    assert_refused(refused, "token ids that the model does not have", "model.vocab_size 300")
    result = train("data.path=bare")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("tokenizer.json", "é", "e"),
        ("tokenizer_config.json", '"eos_token": "<|end_of_text|>"', '"eos_token": "<|eot_id|>"'),
    ],
)
def test_a_tokenizer_that_did_not_make_the_shards(train: Any, tmp_path: Path, name: str, old: str, new: str) -> None:
    """Found by its hash, or by another EOS."""
    path = tmp_path / "data/tokenizer" / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert_refused(train(), "data/tokenizer: this tokenizer did not make these shards", "EOS")


def test_a_folder_of_another_run(train: Any, tmp_path: Path) -> None:
    """A resume may not change what the run is; the message names each key that differs. The checkpoint stands."""
    assert train().returncode == 0
    before = committed_checkpoints(tmp_path / "run/checkpoints")
    refused = train("model.intermediate_size=96", "optimizer.lr=1e-5")
    assert_refused(refused, "another run", "model.intermediate_size: 96 (was 160)", "optimizer.lr: 1e-05 (was 0.003)")
    assert_refused(train("train.steps=9"), "cosine run cannot change its length", "9 steps", "6 steps")
    common = ("data.path=" + str(tmp_path / "data"), "run_dir=" + str(tmp_path / "run"), *SMALL)
    same = read_recipe("test", common)
    plan = DataPlan.of_recipe(same)
    refuse_other_run(same, plan)  # what `clapas launch` asks before it submits
    for other, message in (("optimizer.lr=1e-5", "holds another run"), ("train.steps=9", "cannot change its length")):
        with pytest.raises(UserError, match=message):
            refuse_other_run(read_recipe("test", [*common, other]), plan)
    assert committed_checkpoints(tmp_path / "run/checkpoints") == before


def test_two_runs_in_one_folder(train: Any, tmp_path: Path) -> None:
    """The second is told who holds the folder."""
    (tmp_path / "run").mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clapas_environment(),
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert_refused(train(), "another run is training in this folder", f"pid {holder.pid}")
    holder.communicate("", timeout=30)


HOLD = """
import sys, pathlib
from clapas.train.run_folder import RunFolder
folder = RunFolder(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""
