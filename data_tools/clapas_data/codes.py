"""What becomes of a document: one byte each, in the corpus's order."""

from __future__ import annotations

TRAIN, HELD_OUT, DUPLICATE, CONTAMINATED, NEAR_DUPLICATE, EMPTIED = range(6)
"""TRAIN, HELD_OUT: its split. DUPLICATE: its text is another's. CONTAMINATED: too close to the held-out text.
NEAR_DUPLICATE: nearly another's. EMPTIED: all its lines are repeated from other documents."""

SPLIT_CODES = {"train": TRAIN, "heldout": HELD_OUT}
