"""A student learns what its teacher says: in numbers of plain PyTorch, live or stored, resumed, on any ZeRO stage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.evaluate.small import write_model
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 torch's own name

from clapas.recipe.hashes import file_hash
from clapas.tune.config import Distillation
from clapas.tune.distillation import criterion
from clapas.tune.divergence import Kind, Told, divergence, events, told_by
from clapas.tune.rows_in_chunks import sum_over_rows
from clapas_data.blocks import BLOCK_BYTES
from commands import Clapas
from tune.examples import conversations, write_folder

VOCABULARY, WIDTH, ROWS = 40, 8, 12
KINDS: tuple[Kind, ...] = ("forward_kl", "reverse_kl", "jsd")
STUDENT = (
    "model.hidden_size=32",
    "model.intermediate_size=64",
    "schedule={name: constant, warmup_steps: 0}",
)


def rows(run: Path) -> list[dict[str, float]]:
    """The steps of a run."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [row for line in lines if "grad_norm" in (row := json.loads(line))]


def hashes(folder: Path) -> dict[str, str]:
    """What each file of a folder holds."""
    return {path.name: file_hash(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def reference(kind: Kind, teacher_NV: Tensor, student_NV: Tensor) -> Tensor:
    """The divergence over a whole vocabulary, of logits, by PyTorch's own functions."""
    p, q = teacher_NV.softmax(-1), student_NV.softmax(-1)
    m = (p + q) / 2

    def kl(first: Tensor, second: Tensor) -> Tensor:
        return F.kl_div(second.log(), first, reduction="none").sum(-1)

    return {"forward_kl": kl(p, q), "reverse_kl": kl(q, p), "jsd": (kl(p, m) + kl(q, m)) / 2}[kind]


def drawn() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(teacher's logits, hidden states, the head's weight, targets), in fp64."""
    torch.manual_seed(0)
    teacher_NV = torch.randn(ROWS, VOCABULARY, dtype=torch.float64) * 3
    hidden_NE = torch.randn(ROWS, WIDTH, dtype=torch.float64, requires_grad=True)
    weight_VE = torch.randn(VOCABULARY, WIDTH, dtype=torch.float64, requires_grad=True)
    return teacher_NV, hidden_NE, weight_VE, torch.randint(VOCABULARY, (ROWS,))


@pytest.mark.parametrize("kind", KINDS)
def test_with_all_tokens_known_it_is_plain_distillation(kind: Kind) -> None:
    """top_k = V: the loss and the gradients of hidden states and head are those of PyTorch's full logits."""
    teacher_NV, hidden_NE, weight_VE, targets_N = drawn()
    objective = Distillation(name="distillation", teacher=Path(), kind=kind, temperature=2.0, alpha=0.3)
    ids_NV = teacher_NV.topk(VOCABULARY).indices
    told = Told(ids_NV, events(teacher_NV / 2, ids_NV))
    targets_BS = torch.cat([targets_N, torch.full((4,), -100)]).view(2, 8)
    hidden_BSE = torch.cat([hidden_NE, torch.ones(4, WIDTH, dtype=torch.float64)]).view(2, 8, WIDTH)
    loss, losses_B, divergences, cross_entropies = criterion(objective, targets_BS, told, VOCABULARY)(
        hidden_BSE, weight_VE
    )
    found = torch.autograd.grad(loss, (hidden_NE, weight_VE))
    logits_NV = hidden_NE @ weight_VE.t()
    wanted_N = reference(kind, teacher_NV / 2, logits_NV / 2)
    cross_entropy_N = F.cross_entropy(logits_NV, targets_N, reduction="none")
    wanted = 0.3 * 4 * wanted_N + 0.7 * cross_entropy_N
    torch.testing.assert_close(loss, wanted.sum())
    torch.testing.assert_close(losses_B, torch.stack([wanted[:8].sum(), wanted[8:].sum()]))
    torch.testing.assert_close(divergences, wanted_N.sum())
    torch.testing.assert_close(cross_entropies, cross_entropy_N.sum())
    for mine, plain in zip(found, torch.autograd.grad(wanted.sum(), (hidden_NE, weight_VE)), strict=True):
        torch.testing.assert_close(mine, plain)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_without_a_name_are_one_event(kind: Kind) -> None:
    """The rest bucket: less than the full divergence, nothing (and no gradient) where the student is the teacher."""
    teacher_NV, hidden_NE, weight_VE, _ = drawn()
    ids_Nk = teacher_NV.topk(5).indices
    teacher = events(teacher_NV, ids_Nk)
    torch.testing.assert_close(teacher.exp().sum(-1), torch.ones(ROWS, dtype=torch.float64))
    student_NV = hidden_NE @ weight_VE.t()
    known = divergence(kind, teacher, events(student_NV, ids_Nk))
    assert (known < reference(kind, teacher_NV, student_NV)).all()
    assert (known > 0).all()
    same_NV = teacher_NV.clone().requires_grad_()
    none = divergence(kind, teacher, events(same_NV, ids_Nk))
    torch.testing.assert_close(none, torch.zeros_like(none), atol=1e-12, rtol=0)
    assert torch.autograd.grad(none.sum(), same_NV)[0].abs().max() < 1e-12


def test_what_is_told_survives_sixteen_bits() -> None:
    """Rounded and normalised again, a teacher's probabilities are right to a part in a thousand."""
    teacher_NV, *_ = drawn()
    told = told_by(teacher_NV, 5, 1.0)
    assert told.log_probabilities.dtype == torch.float16
    exact = events(teacher_NV, told.ids_Nk)
    torch.testing.assert_close(told.log_probabilities.double().softmax(-1), exact.exp(), atol=1e-3, rtol=4e-3)


def test_chunks_change_nothing_and_no_rows_are_no_error() -> None:
    """The sum and its gradients do not depend on how many rows are held at a time."""
    _, hidden_NE, weight_VE, targets_N = drawn()

    def of_logits(logits_CV: Tensor, chunk: slice) -> tuple[Tensor, Tensor]:
        losses_C = F.cross_entropy(logits_CV, targets_N[chunk], reduction="none")
        return losses_C, losses_C.detach()[:, None]

    wanted = sum_over_rows(hidden_NE, weight_VE, of_logits, told=1, rows=ROWS)
    for chunk in (1, 5):
        found = sum_over_rows(hidden_NE, weight_VE, of_logits, told=1, rows=chunk)
        torch.testing.assert_close(found, wanted)
        for mine, other in zip(
            *(torch.autograd.grad(x[0], (hidden_NE, weight_VE)) for x in (found, wanted)), strict=True
        ):
            torch.testing.assert_close(mine, other)
        wanted = sum_over_rows(hidden_NE, weight_VE, of_logits, told=1, rows=ROWS)
    loss, told = sum_over_rows(hidden_NE[:0], weight_VE, of_logits, told=1)
    loss.backward()
    assert (loss.item(), told.shape) == (0.0, (0, 1))
    assert weight_VE.grad is not None
    assert not weight_VE.grad.any()


@pytest.mark.parametrize(
    "examples", [pytest.param(False, marks=pytest.mark.slow, id="running text"), pytest.param(True, id="conversations")]
)
def test_a_stored_teacher_is_the_live_one(
    clapas: Clapas, test_data: Path, trained_run: Path, tmp_path: Path, examples: bool
) -> None:
    """The same losses step for step; stored, on two ranks (of ZeRO-3, or sharing each text), resumed in the middle."""
    data = test_data
    if examples:
        data = tmp_path / "dialogues"
        write_folder(data, test_data / "tokenizer", conversations(60), held_out=8)
    common = [f"data.path={data}", "objective.name=distillation", "objective.top_k=8", *STUDENT]
    if examples:
        common += ["objective.kind=reverse_kl", "data.packing=best_fit"]
    else:
        common += ["objective.temperature=1.5", "objective.alpha=1", "data.document_mask=true"]
    live = [*common, f"objective.teacher={trained_run}", "train.steps=6"]
    result = clapas("train", "test", *live, "run_dir=live", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    result = clapas("distil", "test", *live, "--out", "said", "--nproc", 2, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    before = hashes(tmp_path / "said")
    next((tmp_path / "said").rglob("dialogues-*.json" if examples else "train/*.json")).unlink()  # as if it was killed
    result = clapas("distil", "test", *live, "--out", "said", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "1 of" in result.stderr
    assert hashes(tmp_path / "said") == before
    layout = ["parallel.zero_stage=1", "parallel.sequence=2"] if examples else ["parallel.zero_stage=3"]
    stored = [*common, "objective.teacher=said", "run_dir=stored", *layout, "--nproc", 2]
    for steps in (3, 6):
        result = clapas("train", "test", *stored, f"train.steps={steps}", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    of_live, of_stored = rows(tmp_path / "live"), rows(tmp_path / "stored")
    assert [row["segment"] for row in of_stored] == [1] * 3 + [2] * 3
    for one, other in zip(of_live, of_stored, strict=True):
        for key in ("loss", "divergence", "cross_entropy", "grad_norm"):
            assert other[key] == pytest.approx(one[key], rel=2e-4), key
    assert of_live[-1]["loss"] < of_live[0]["loss"]
    for path in (tmp_path / "said").rglob("*.log_probabilities.bin"):
        content = bytearray(path.read_bytes())
        content[::BLOCK_BYTES] = bytes(byte ^ 1 for byte in content[::BLOCK_BYTES])
        path.write_bytes(content)
    result = clapas("train", "test", *common, "objective.teacher=said", "run_dir=damaged", cwd=tmp_path)
    assert result.returncode == 2
    assert "altered since it was written" in result.stderr


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (["objective.teacher=nowhere"], "no such teacher"),
        (["objective.top_k=100000"], "more tokens than there are"),
        (["train.z_loss=0.1"], "no z-loss"),
    ],
    ids=lambda value: value[0].partition("=")[0] if isinstance(value, list) else "",
)
def test_mistakes_are_told_before_anything_trains(
    clapas: Clapas, test_data: Path, trained_run: Path, tmp_path: Path, settings: list[str], wanted: str
) -> None:
    """One message, exit 2, no checkpoint."""
    common = [f"data.path={test_data}", "objective.name=distillation", f"objective.teacher={trained_run}", *STUDENT]
    result = clapas("train", "test", *common, *settings, "run_dir=run", cwd=tmp_path)
    assert result.returncode == 2
    assert wanted in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run/checkpoints").exists()


def test_another_teacher_and_another_cut_are_refused(
    clapas: Clapas, test_data: Path, trained_run: Path, tmp_path: Path
) -> None:
    """The teacher's weights belong to the run; what is stored belongs to a temperature, a k and a length of texts."""
    write_model(tmp_path / "other")
    common = [f"data.path={test_data}", "objective.name=distillation", "objective.top_k=4", *STUDENT]
    result = clapas("train", "test", *common, "objective.teacher=other", "run_dir=run", cwd=tmp_path)
    assert result.returncode == 2
    assert "another tokenizer than the data" in result.stderr
    own = [*common, f"objective.teacher={trained_run}"]
    result = clapas("distil", "test", *own, "data.path=nowhere", "--out", "said", cwd=tmp_path)
    assert result.returncode == 2
    assert not (tmp_path / "said").exists()
    (tmp_path / "said").mkdir()
    facts = {"seal": "0" * 64, "tokenizer": "", "vocab_size": 2048, "top_k": 5, "temperature": 1.0, "data": ""}
    facts |= {"sequence_length": 128, "by_source": False, "document_mask": False, "packed": False, "too_long": ""}
    (tmp_path / "said/distillation.json").write_text(json.dumps(facts))
    result = clapas("distil", "test", *own, "--out", "said", cwd=tmp_path)
    assert result.returncode == 2
    assert "top_k: 5" in result.stderr
    result = clapas("train", "test", *common, "objective.teacher=said", "run_dir=run", cwd=tmp_path)
    assert result.returncode == 2
    assert "not what the recipe asks for" in result.stderr
    result = clapas("train", "test", *own, f"objective.seal={'a' * 64}", "run_dir=run", cwd=tmp_path)
    assert result.returncode == 2
    assert "not the teacher that the run began with" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", [1, 2])
def test_zero_stages_agree(clapas: Clapas, test_data: Path, trained_run: Path, tmp_path: Path, zero_stage: int) -> None:
    """Two ranks that each hold the teacher and a part of the student do what one rank does."""
    common = [f"data.path={test_data}", "objective.name=distillation", f"objective.teacher={trained_run}", *STUDENT]
    common += ["train.steps=3"]
    layout = [f"parallel.zero_stage={zero_stage}", "--nproc", 2]
    for run, settings in (("one", []), ("two", layout)):
        result = clapas("train", "test", *common, *settings, f"run_dir={run}", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    for one, other in zip(rows(tmp_path / "one"), rows(tmp_path / "two"), strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)
