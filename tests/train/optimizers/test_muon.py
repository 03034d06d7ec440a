"""Muon: its orthogonalisation, its step, how matrices are dealt to ranks. Ranks and stages: test_train."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch

from clapas.engine.slots import Slot
from clapas.train.optimizers.exchange import Exchange, Matrix, Piece, pieces_of, share_out
from clapas.train.optimizers.muon import Muon
from clapas_kernels import orthogonalise

CPU = torch.device("cpu")


def whole(**parameters: torch.Tensor) -> Iterator[Slot]:
    """Parameters as one rank without ZeRO holds them."""
    for name, parameter in parameters.items():
        yield Slot(name, tuple(parameter.shape), 0, parameter.numel(), parameter, 0, replicated=True)


def muon(matrices: dict[str, torch.Tensor], vectors: dict[str, torch.Tensor] | None = None, **options: float) -> Muon:
    """An optimizer over some matrices and vectors, ready to step."""
    groups = [{"params": list(matrices.values()), "muon": True}]
    if vectors:
        groups.append({"params": list(vectors.values()), "muon": False})
    optimizer = Muon(groups, momentum=0.95, lr=0.02, **options)
    optimizer.bind(whole(**matrices, **(vectors or {})), CPU)
    return optimizer


@pytest.mark.parametrize("shape", [(32, 32), (16, 48), (48, 16)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, int]) -> None:
    """Jordan's five steps bring singular values to 0.7 to 1.2 and leave the singular vectors alone."""
    torch.manual_seed(0)
    matrix = torch.randn(shape, dtype=torch.float64)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    assert s.min() / matrix.norm() > 0.001
    core = u.mT @ orthogonalise(matrix[None])[0] @ v.mT
    assert torch.allclose(core, torch.diag(core.diagonal()), atol=1e-10)
    assert core.diagonal().max() < 1.25
    assert core.diagonal()[s / matrix.norm() > 0.01].min() > 0.65


def test_a_zero_matrix_stays_zero_and_a_stack_is_its_matrices() -> None:
    """An expert that no token chose has no gradient; its neighbours are orthogonalised as if alone."""
    torch.manual_seed(0)
    stack = torch.randn(3, 8, 12)
    stack[1] = 0
    result = orthogonalise(stack)
    assert torch.equal(result[1], torch.zeros(8, 12))
    assert torch.allclose(result[2], orthogonalise(stack[2:])[0], atol=1e-6)


def reference(w: torch.Tensor, gradients: list[torch.Tensor], lr: float, decay: float) -> torch.Tensor:
    """Jordan's pseudo-code with Liu et al.'s scale and decoupled weight decay, in fp64."""
    momentum = torch.zeros_like(w)
    for gradient in gradients:
        momentum = 0.95 * momentum + 0.05 * gradient
        update = 0.95 * momentum + 0.05 * gradient
        x = update / update.norm()
        x = x.mT if w.shape[0] > w.shape[1] else x
        for _ in range(5):
            a = x @ x.mT
            x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
        x = x.mT if w.shape[0] > w.shape[1] else x
        w = (1 - lr * decay) * w - lr * 0.2 * math.sqrt(max(w.shape)) * x
    return w


@pytest.mark.parametrize("shape", [(12, 20), (20, 12)])
def test_muon_is_the_papers_algorithm(shape: tuple[int, int]) -> None:
    """Four steps in fp32 against the pseudo-code in fp64."""
    torch.manual_seed(0)
    weight = torch.randn(shape, requires_grad=True)
    gradients = [torch.randn(shape) for _ in range(4)]
    expected = reference(weight.detach().double(), [gradient.double() for gradient in gradients], lr=0.02, decay=0.1)
    optimizer = muon({"w": weight}, weight_decay=0.1)
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
    assert torch.allclose(weight.double(), expected, rtol=0, atol=1e-5)


def test_muon_is_torchs_up_to_bf16() -> None:
    """torch.optim.Muon with `match_rms_adamw` orthogonalises in bf16: equal to its precision."""
    torch.manual_seed(0)
    start, gradients = torch.randn(24, 16), [torch.randn(24, 16) for _ in range(3)]
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    optimizers = (
        muon({"w": ours}, weight_decay=0.1),
        torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
    )
    for gradient in gradients:
        for weight, optimizer in zip((ours, theirs), optimizers, strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() / moved < 0.01


def test_experts_are_orthogonalised_one_by_one_and_the_rest_is_adamws() -> None:
    """A stack moves like its matrices; a vector moves as under torch's AdamW."""
    torch.manual_seed(0)
    stack, vector = torch.randn(3, 8, 6, requires_grad=True), torch.randn(8, requires_grad=True)
    singles = {f"w{index}": stack[index].detach().clone().requires_grad_() for index in range(3)}
    plain = vector.detach().clone().requires_grad_()
    optimizers = (
        muon({"stack": stack}, {"vector": vector}, weight_decay=0.1),
        muon(singles, weight_decay=0.1),
        torch.optim.AdamW([plain], lr=0.02, weight_decay=0.1),
    )
    for _ in range(3):
        stack.grad, vector.grad = torch.randn_like(stack), torch.randn_like(vector)
        plain.grad = vector.grad.clone()
        for index, single in enumerate(singles.values()):
            single.grad = stack.grad[index].clone()
        for optimizer in optimizers:
            optimizer.step()
    assert torch.allclose(stack, torch.stack(list(singles.values())), atol=1e-6)
    assert torch.allclose(vector, plain, atol=1e-7)


def test_hooks_are_called_once_a_step() -> None:
    """Though AdamW's own step is inside, and torch hangs hooks on the class of any optimizer that was ever made."""
    matrix, vector = torch.ones(2, 2, requires_grad=True), torch.ones(2, requires_grad=True)
    torch.optim.AdamW([vector])
    optimizer, calls = muon({"w": matrix}, {"v": vector}), []
    optimizer.register_step_pre_hook(lambda *_: calls.append(1))
    matrix.grad, vector.grad = torch.ones(2, 2), torch.ones(2)
    optimizer.step()
    assert calls == [1]
    assert not torch.equal(vector, torch.ones(2))


def test_nothing_happens_before_the_layout_is_known() -> None:
    """DeepSpeed without ZeRO in bf16 steps once when it starts."""
    weight = torch.ones(2, 2, requires_grad=True)
    weight.grad = torch.ones(2, 2)
    optimizer = Muon([{"params": [weight], "muon": True}], momentum=0.95, lr=0.1)
    optimizer.step()
    assert torch.equal(weight, torch.ones(2, 2))


def cut(ranks: int, *shapes: tuple[int, ...]) -> list[Matrix]:
    """Parameters of some shapes laid end to end, cut into equal partitions as ZeRO-1 does, and dealt."""
    sizes = [math.prod(shape) for shape in shapes]
    part = -(-sum(sizes) // ranks)
    found = []
    for rank in range(ranks):
        owner, at, slots = torch.zeros(part), 0, []
        for number, (shape, size) in enumerate(zip(shapes, sizes, strict=True)):
            low, high = max(at, rank * part), min(at + size, (rank + 1) * part)
            if low < high:
                slots.append(Slot(f"p{number}", shape, low - at, high - low, owner, low - rank * part))
            at += size
        found.append(pieces_of(slots, {id(owner): 0}, rank))
    return share_out(found)


def test_a_cut_matrix_has_one_home_among_its_holders_and_a_whole_one_stays() -> None:
    """Three ranks, border in the middle of matrices and inside an expert of a stack."""
    matrices = cut(3, (4, 6), (5, 5), (3, 4, 4), (7,))
    assert sorted(matrix.shape for matrix in matrices) == [(4, 4)] * 3 + [(4, 6), (5, 5)]
    for matrix in matrices:
        assert matrix.home in {piece.rank for piece in matrix.pieces}
        assert sum(piece.length for piece in matrix.pieces) == math.prod(matrix.shape)
    assert max(len(matrix.pieces) for matrix in matrices) == 2
    assert min(len(matrix.pieces) for matrix in matrices) == 1


def test_replicated_matrices_are_shared_out_evenly() -> None:
    """Without ZeRO every rank holds all: each works on its share and tells the others."""
    pieces = [{f"p{n}:8,8": [Piece(rank, 0, 64, n, 0)] for n in range(8)} for rank in range(4)]
    matrices = share_out(pieces)
    assert sorted(matrix.home for matrix in matrices) == [0, 0, 1, 1, 2, 2, 3, 3]
    for rank in range(4):
        exchange = Exchange(matrices, rank, 4)
        assert not exchange._inward
        assert len([message for message in exchange._outward if message.source == rank]) == 6


def test_a_layout_with_a_hole_is_never_stepped() -> None:
    """Better no step than a matrix of garbage."""
    (matrix,) = share_out([{"p:2,4": [Piece(0, 0, 3, 0, 0)]}, {"p:2,4": [Piece(1, 5, 3, 0, 0)]}])
    with pytest.raises(AssertionError, match="no owner"):
        Exchange([matrix], 0, 2)
