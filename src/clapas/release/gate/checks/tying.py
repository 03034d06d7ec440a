"""Check 6: a tied head is said to be tied and stored once, another is stored and said to be its own.

A flag that is missing is False to transformers: a tied model then loads with a head of random numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clapas.release.gate.check import Check, Draft, Verdict, judged, not_run
from clapas.release.gate.reading import EMBEDDING, HEAD, Stored, Unreadable, chunks, read_model
from clapas.release.layout import CONFIG

FLAG = "tie_word_embeddings"


def check_tying(draft: Draft) -> Verdict:
    """The flag, the weights, and how the model was trained."""
    model = read_model(draft.folder)
    if isinstance(model, Unreadable):
        return not_run(model.why)
    config, tensors = model
    trained = draft.evidence.model[FLAG]
    said = "tied, and stored once" if trained else "a head of its own"
    return judged(_problems(draft.folder, config.get(FLAG), tensors, trained), said)


def _problems(folder: Path, flag: Any, tensors: dict[str, Stored], trained: bool) -> Iterator[str]:
    if flag is not trained:
        yield f"{CONFIG} says {FLAG} {flag!r}, and the model was trained with {trained}"
    if trained and HEAD in tensors:
        yield f"{HEAD} is stored beside the embedding that it is tied to: readers differ in which they take"
    if not trained and HEAD not in tensors:
        yield f"there is no {HEAD}, and the model was trained with one: readers begin a random one"
    if not trained and {HEAD, EMBEDDING} <= tensors.keys() and _are_equal(folder, tensors[HEAD], tensors[EMBEDDING]):
        yield f"{HEAD} is a copy of {EMBEDDING}: the head that was trained is lost"


def _are_equal(folder: Path, one: Stored, other: Stored) -> bool:
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return all(np.array_equal(a, b) for a, b in zip(chunks(folder, one), chunks(folder, other), strict=True))


CHECK = Check(6, "tying", "the tie flag is true exactly where embedding and head are one", check_tying)
