"""A larger vocabulary: the rows that new ids get in the tables of a model that did not know them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from clapas.model.hf_weights import EMBEDDING, HEAD
from clapas.model.source import WeightSource, WithRows

ROWS = 2**12
"""Rows of a table that are read at once."""


def grown(
    source: WeightSource, vocab_size: int, known: int | None = None, pieces: Sequence[Sequence[int]] = ()
) -> WeightSource:
    """A source with tables of `vocab_size` rows; itself where nothing of them is new.

    known: the ids that the source's tokenizer has, whose rows stay as they are; by default all rows of the source.
    pieces: of each id from `known` on, the known ids that its text is made of: it gets their mean row, also where the
    source has a row of padding there. Ids beyond are padding, and get the mean of all known rows where they have none.
    """
    names = [name for name in (EMBEDDING, HEAD) if name in source.names()]
    if not pieces and all(source.shape(name)[0] == vocab_size for name in names):
        return source
    rows = {}
    for name in names:
        old = source.shape(name)[0]
        first = old if known is None else min(known, old)
        of_pieces = mean_rows(source, name, pieces)
        kept = _rows(source, name, range(first + len(of_pieces), old))
        padding = max(0, vocab_size - first - len(of_pieces) - len(kept))
        mean = mean_row(source, name, first).expand(padding, -1)
        rows[name] = torch.cat([of_pieces, kept, mean])[: vocab_size - first]
    return WithRows(source, rows, {name: vocab_size - len(new) for name, new in rows.items()})


def mean_rows(source: WeightSource, name: str, pieces: Sequence[Sequence[int]]) -> Tensor:
    """(len(pieces), hidden): the mean of each one's rows, so that a new word begins between the parts that it had."""
    wanted = sorted(set(chain.from_iterable(pieces)))
    rows, places = _rows(source, name, wanted), {number: place for place, number in enumerate(wanted)}
    means = [rows[[places[number] for number in one]].double().mean(0).float() for one in pieces]
    return torch.stack(means) if means else rows


def mean_row(source: WeightSource, name: str, count: int) -> Tensor:
    """The mean of a table's first rows, (hidden,), in fp64 sums: it leaves the old ids' probabilities nearly as they
    were (Hewitt, 2021)."""
    hidden = source.shape(name)[1]
    total = torch.zeros(hidden, dtype=torch.float64)
    for first in range(0, count, ROWS):
        piece = torch.empty(min(ROWS, count - first), hidden)
        source.read_into(name, first * hidden, piece.view(-1))
        total += piece.sum(0, dtype=torch.float64)
    return (total / count).float()


def _rows(source: WeightSource, name: str, numbers: Sequence[int]) -> Tensor:
    """(len(numbers), hidden): some rows of a table, read one by one."""
    hidden = source.shape(name)[1]
    rows = torch.empty(len(numbers), hidden)
    for place, number in enumerate(numbers):
        source.read_into(name, number * hidden, rows[place])
    return rows
