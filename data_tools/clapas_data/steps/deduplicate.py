"""Deduplication, as a corpus file asks for it."""

from __future__ import annotations

from typing import Literal

from clapas_data.steps.step import Across


class Exact(Across):
    """Of documents with the same text, keep one. Done for every corpus, listed or not."""

    step: Literal["deduplicate.exact"] = "deduplicate.exact"
