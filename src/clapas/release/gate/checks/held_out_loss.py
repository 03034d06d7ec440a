"""Check 12: the export's loss on the held-out text is the one that the run logged at this step.

Stock transformers scores the very tokens that the run's validation scored, all of them, in fp32 arithmetic. What may
differ is rounding: of the weights when they were exported, and of the arithmetic when the run was validated; and what
the run lost to rows of padding that the export has not, which the live model tells at some places.
"""

from __future__ import annotations

from clapas.release.evidence.evidence import Evidence, HeldOut
from clapas.release.gate.check import Check, Draft, Verdict, judged, not_run
from clapas.release.gate.live import NoText

BOUNDS = {"float32": 2e-4, "bfloat16": 1e-2, "float16": 2e-3}
"""Nats a token, by the narrowest type that weights or arithmetic went through; see decision 166."""
ARITHMETIC = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""A recipe's `precision` -> the type of the run's arithmetic."""


def check(draft: Draft) -> Verdict:
    """Sum over targets, and the logged mean."""
    if draft.live is None:
        return not_run("the run that trained it, and its held-out text, are not at hand")
    text = draft.live.held_out
    if isinstance(text, NoText):
        return not_run(text.why)
    logged = _logged(draft.evidence)
    if logged is None:
        return judged([f"the run was validated at step {draft.evidence.step}, and the evidence knows of no loss"], "")
    seen = draft.seen
    if seen is None:
        return not_run("transformers is not installed")
    if seen.error is not None or seen.loss_sum is None:
        return not_run("it does not load: see check 10")
    padding = draft.live.loss_of_padding(seen.logits[0].shape[1])
    bound = max(BOUNDS[seen.dtype], BOUNDS[ARITHMETIC[draft.evidence.recipe["precision"]]]) + padding
    found, wanted = seen.loss_sum / text.count, logged.loss - padding
    problems = []
    if logged.tokens not in (None, text.count):
        problems.append(f"the run's validation scored {logged.tokens:,} tokens, and the text has {text.count:,}")
    if not abs(found - wanted) <= bound:
        apart = f"{abs(found - wanted):.5f} nats apart, over {bound:.5f}"
        problems.append(f"held-out loss {found:.5f} nats a token, and the run logged {logged.loss:.5f}: {apart}")
    return judged(problems, f"{found:.5f} nats a token over {text.count:,} tokens, logged {logged.loss:.5f}")


def _logged(evidence: Evidence) -> HeldOut | None:
    split = evidence.recipe["evaluation"]["split"]
    rows = [row for row in evidence.held_out if row.step == evidence.step and row.split == split]
    return rows[-1] if rows else None


def _must_run(draft: Draft) -> bool:
    """Where the run logged a loss that can be computed again."""
    if draft.live is None:
        return False
    text = draft.live.held_out
    return not (isinstance(text, NoText) and text.is_sound)


CHECK = Check(12, "held_out_loss", "held-out loss by stock transformers is the one logged", check, _must_run)
