"""Check 11: the weights are the run's, bit for bit but for their rounding, and stock transformers computes with them
what we do, at the first places of a text and at the last.

Three comparisons, each of which sees what the others cannot (decision 166 derives the bounds):
- every stored weight with the run's, rounded to nearest even: exact;
- logits in fp32 arithmetic, ours of the rounded weights, theirs of the stored ones: the same numbers go in, so only the
  order of sums differs, and FP32_BOUND holds whatever the weights' dtype;
- logits in the arithmetic of the weights' dtype, as most people will run them, with ours of the run's own weights in
  fp32: what rounding costs, by KL divergence and by the likeliest token.
P positions, V vocabulary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from clapas.model.build import parameter_shapes
from clapas.model.hf_weights import stored_parts
from clapas.release.gate.check import Check, Draft, Verdict, judged, not_run
from clapas.release.gate.live import LiveModel
from clapas.release.gate.reading import Stored, Unreadable, chunks, read_tensors
from clapas.release.gate.seen import Seen

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
BITS = {2: torch.int16, 4: torch.int32}
FP32_BOUND = 1e-4
"""Largest difference of two logits in fp32 arithmetic, as a part of the largest logit of the probe."""
MEAN_KL, WORST_KL = 1e-2, 5e-2
"""Nats that rounded weights and arithmetic may cost, on average and at the worst place."""
LEAST_AGREEMENT = 0.9
"""Part of the places at which the likeliest token stays the same."""


def check(draft: Draft) -> Verdict:
    """Weights, then logits."""
    if draft.live is None:
        return not_run("the run that trained it is not at hand")
    tensors = read_tensors(draft.folder)
    if isinstance(tensors, Unreadable):
        return not_run(tensors.why)
    seen = draft.seen
    if seen is None:
        return not_run("transformers is not installed")
    if seen.error is not None:
        return not_run("it does not load: see check 10")
    if not tensors:
        return not_run("the files of weights hold no tensor")
    problems = list(differing_weights(draft.folder, draft.live, tensors))
    live = draft.live.logits(_roundings(tensors, seen))
    problems += _fp32(live.rounded, seen.logits)
    problems += _rounded(live.exact, seen.own_logits, seen.dtype)
    probes = f"{len(seen.logits)} probes of {sum(map(len, seen.logits))} places"
    return judged(problems, f"{len(tensors)} tensors as trained, bit for bit; {probes} computed alike")


def _roundings(tensors: Mapping[str, Stored], seen: Seen) -> tuple[torch.dtype, ...]:
    """What the weights went through: the type that most are stored in, then the one that they were loaded in."""
    stored = Counter(DTYPES[tensor.dtype] for tensor in tensors.values()).most_common(1)[0][0]
    return stored, getattr(torch, seen.dtype)


def differing_weights(folder: Path, live: LiveModel, tensors: Mapping[str, Stored]) -> Iterator[str]:
    """Tensors that are not the run's, rounded; those that are missing or of another shape are check 10's."""
    for name, shape in parameter_shapes(live.config).items():
        trained = live.weights.tensor(name)
        for stored, part in stored_parts(name, shape):
            tensor = tensors.get(stored)
            whole = trained if part is None else trained[part]
            if tensor is None or not _fits(tensor.shape, whole.shape):
                continue
            if (count := _differing(folder, tensor, whole[: tensor.shape[0]])) > 0:
                yield f"{stored}: {count:,} of {tensor.elements:,} weights are not the run's"


def _fits(shape: tuple[int, ...], trained: torch.Size) -> bool:
    """The same, or without the last rows: ids that the tokenizer does not have."""
    return len(shape) == len(trained) and shape[0] <= trained[0] and shape[1:] == trained[1:]


def _differing(folder: Path, stored: Stored, trained: Tensor) -> int:
    """How many elements are other bits than the trained ones, rounded to nearest even."""
    dtype = DTYPES[stored.dtype]
    bits = trained.to(dtype).contiguous().view(BITS[dtype.itemsize]).flatten().numpy()
    at = count = 0
    for part in chunks(folder, stored):
        count += int((bits[at : at + len(part)] != part.view(bits.dtype)).sum())
        at += len(part)
    return count


def _fp32(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Iterator[str]:
    for number, (own, seen) in enumerate(_of_shared_ids(ours, theirs), start=1):
        apart = ((own - seen).abs().amax(1) / own.abs().max()).nan_to_num(torch.inf)
        if (worst := apart.max().item()) > FP32_BOUND:
            place = int(apart.argmax())
            yield (
                f"probe {number}: logits in fp32 differ by {worst:.1e} of the largest, over {FP32_BOUND:.0e}, "
                f"at place {place + 1} of {len(apart)}"
            )


def _of_shared_ids(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Of the ids that both have: rows without a token may be cut, and whether others were added is check 5's."""
    for own, seen in zip(ours, theirs, strict=True):
        shared = min(own.shape[1], seen.shape[1])
        yield own[:, :shared], seen[:, :shared]


def _rounded(ours: Sequence[Tensor], theirs: Sequence[Tensor], dtype: str) -> Iterator[str]:
    """Of the logits in the weights' own arithmetic; none where that is fp32."""
    if not theirs:
        return
    pairs = list(_of_shared_ids(ours, theirs))
    divergences = torch.cat([_divergence(own, seen) for own, seen in pairs]).nan_to_num(torch.inf)
    agreement = torch.cat([own.argmax(1) == seen.argmax(1) for own, seen in pairs]).float().mean().item()
    mean, worst = divergences.mean().item(), divergences.max().item()
    if mean > MEAN_KL or worst > WORST_KL:
        bounds = f"over {MEAN_KL} or {WORST_KL}"
        yield f"{dtype} costs {mean:.1e} nats of KL divergence on average, {worst:.1e} at the worst place: {bounds}"
    if agreement < LEAST_AGREEMENT:
        yield f"in {dtype} the likeliest token is the same at {agreement:.0%} of places, under {LEAST_AGREEMENT:.0%}"


def _divergence(ours: Tensor, theirs: Tensor) -> Tensor:
    """KL divergence in nats of their next token's distribution from ours, (P)."""
    own, seen = ours.double().log_softmax(1), theirs.double().log_softmax(1)
    return (own.exp() * (own - seen)).sum(1)


CHECK = Check(
    11, "logits", "weights and logits are those of the run's checkpoint", check, lambda draft: draft.live is not None
)
