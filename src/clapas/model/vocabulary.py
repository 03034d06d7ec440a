"""A larger vocabulary: the rows that new ids get in the tables of a model that did not know them."""

from __future__ import annotations

import torch
from torch import Tensor

from clapas.model.hf_weights import EMBEDDING, HEAD
from clapas.model.source import WeightSource, WithRows

ROWS = 2**12
"""Rows of a table that are read at once."""


def grown(source: WeightSource, vocab_size: int) -> WeightSource:
    """A source with tables of `vocab_size` rows; itself where it has as many. New rows are the mean of the old."""
    names = [name for name in (EMBEDDING, HEAD) if name in source.names()]
    if all(source.shape(name)[0] == vocab_size for name in names):
        return source
    return WithRows(source, {name: new_rows(source, name, vocab_size - source.shape(name)[0]) for name in names})


def new_rows(source: WeightSource, name: str, count: int) -> Tensor:
    """(count, hidden): each the mean of the old rows, which leaves the old ids' probabilities nearly as they were
    (Hewitt, 2021)."""
    return mean_row(source, name).expand(count, -1)


def mean_row(source: WeightSource, name: str) -> Tensor:
    """The mean of a table's rows, (hidden,), in fp64 sums."""
    rows, hidden = source.shape(name)
    total = torch.zeros(hidden, dtype=torch.float64)
    for first in range(0, rows, ROWS):
        piece = torch.empty(min(ROWS, rows - first), hidden)
        source.read_into(name, first * hidden, piece.view(-1))
        total += piece.sum(0, dtype=torch.float64)
    return (total / rows).float()
