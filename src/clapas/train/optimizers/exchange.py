"""Whole matrices out of ZeRO's pieces, and their updates back into pieces.

ZeRO cuts the optimizer's flat tensors without regard to matrices. What needs whole matrices (Muon) is dealt: each
has one home among the ranks that hold a piece of it, chosen so that all work alike. Pieces travel to the home, and the
result travels back to every rank that holds a piece; a matrix that lies wholly on one rank never travels. Which pieces
lie where is learned once, from the slots of all ranks, so one rule serves every stage.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from clapas.engine.slots import Slot


@dataclass(frozen=True, slots=True)
class Piece:
    """Elements [offset, offset + length) of a matrix, at [start, start + length) of an owner of `rank`.

    owner: the number of the optimizer's tensor, the same on all ranks.
    """

    rank: int
    offset: int
    length: int
    owner: int
    start: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix (M, N) in pieces. home: the rank that works on the whole of it."""

    shape: tuple[int, int]
    pieces: tuple[Piece, ...]
    home: int


@dataclass(frozen=True, slots=True)
class Message:
    """Elements of a matrix on their way. matrix: its place in the list of matrices."""

    source: int
    target: int
    matrix: int
    piece: Piece


def pieces_of(slots: Iterable[Slot], owner_numbers: dict[int, int], rank: int) -> dict[str, list[Piece]]:
    """This rank's pieces, by `name` for a matrix and `name[i]` for each of a stack of them (a layer's experts).

    owner_numbers: id of the optimizer's tensor -> its number. The key ends with the shape, as in `name[3]:64,128`.
    """
    found: dict[str, list[Piece]] = defaultdict(list)
    for slot in slots:
        if len(slot.shape) < 2:
            continue
        *stack, rows, columns = slot.shape
        size, end = rows * columns, slot.offset + slot.length
        for index in range(slot.offset // size, -(-end // size)):
            low, high = max(slot.offset, index * size), min(end, (index + 1) * size)
            if low < high:
                start = slot.start + low - slot.offset
                piece = Piece(rank, low - index * size, high - low, owner_numbers[id(slot.owner)], start)
                name = f"{slot.name}[{index}]" if stack else slot.name
                found[f"{name}:{rows},{columns}"].append(piece)
    return dict(found)


def share_out(pieces: Sequence[dict[str, list[Piece]]]) -> list[Matrix]:
    """The matrices of all ranks, each with a home: the least loaded of its holders, costliest matrices first.

    pieces: what `pieces_of` found, a rank each. Every rank comes to the same result.
    """
    held: dict[str, list[Piece]] = defaultdict(list)
    for of_rank in pieces:
        for key, found in of_rank.items():
            held[key] += found
    shapes = {key: tuple(map(int, key.rpartition(":")[2].split(","))) for key in held}
    load = [0] * len(pieces)
    matrices = []
    for key in sorted(held, key=lambda key: (-_cost(*shapes[key]), key)):
        home = min({piece.rank for piece in held[key]}, key=lambda rank: (load[rank], rank))
        load[home] += _cost(*shapes[key])
        rows, columns = shapes[key]
        matrices.append(Matrix((rows, columns), tuple(held[key]), home))
    return matrices


def _cost(rows: int, columns: int) -> int:
    """Newton-Schulz's operations, up to a factor."""
    small, large = sorted((rows, columns))
    return 2 * small * small * large + small**3


class Exchange:
    """The travels of some matrices between ranks."""

    def __init__(self, matrices: list[Matrix], rank: int, size: int) -> None:
        self.matrices, self._rank, self._size = matrices, rank, size
        self.at_home = [number for number, matrix in enumerate(matrices) if matrix.home == rank]
        self._inward: list[Message] = []
        self._outward: list[Message] = []
        self._local: list[list[Piece]] = []
        for number, matrix in enumerate(matrices):
            chosen = _cover(matrix)
            self._local.append([piece for piece in chosen if piece.rank == rank])
            self._inward += [Message(p.rank, matrix.home, number, p) for p in chosen if p.rank != matrix.home]
            self._outward += [Message(matrix.home, p.rank, number, p) for p in matrix.pieces if p.rank != matrix.home]

    def gather(self, updates: dict[int, Tensor]) -> dict[int, Tensor]:
        """The matrices whose home is this rank, whole, by number. updates: the owners' flat tensors, by number.

        Collective, where anything travels.
        """
        like = next(iter(updates.values()))
        flat = {number: like.new_empty(self._elements(number)) for number in self.at_home}
        for number in self.at_home:
            for piece in self._local[number]:
                _cut(flat[number], piece.offset, piece).copy_(_cut(updates[piece.owner], piece.start, piece))
        arrived = self._travel(self._inward, lambda m: _cut(updates[m.piece.owner], m.piece.start, m.piece), like)
        for message, values in arrived:
            _cut(flat[message.matrix], message.piece.offset, message.piece).copy_(values)
        return {number: values.view(self.matrices[number].shape) for number, values in flat.items()}

    def scatter(self, results: dict[int, Tensor], like: Tensor) -> list[tuple[int, Piece, Tensor]]:
        """This rank's pieces of all results: (matrix number, piece, flat values).

        results: the matrices whose home is this rank, by number. like: a tensor of their dtype and device. Collective.
        """
        flat = {number: values.reshape(-1) for number, values in results.items()}
        own = [
            (number, piece, _cut(flat[number], piece.offset, piece))
            for number in self.at_home
            for piece in self.matrices[number].pieces
            if piece.rank == self._rank
        ]
        arrived = self._travel(self._outward, lambda m: _cut(flat[m.matrix], m.piece.offset, m.piece), like)
        return own + [(message.matrix, message.piece, values) for message, values in arrived]

    def _elements(self, number: int) -> int:
        rows, columns = self.matrices[number].shape
        return rows * columns

    def _travel(
        self, messages: list[Message], values_of: Callable[[Message], Tensor], like: Tensor
    ) -> list[tuple[Message, Tensor]]:
        """Send this rank's messages and return those for it, in one all-to-all; none where no rank has any."""
        if not messages:
            return []
        sent = sorted((m for m in messages if m.source == self._rank), key=lambda m: m.target)
        due = sorted((m for m in messages if m.target == self._rank), key=lambda m: m.source)
        outgoing = torch.cat([values_of(message) for message in sent]) if sent else like.new_empty(0)
        incoming = like.new_empty(sum(message.piece.length for message in due))
        dist.all_to_all_single(
            incoming,
            outgoing,
            output_split_sizes=_sums(((m.source, m.piece.length) for m in due), self._size),
            input_split_sizes=_sums(((m.target, m.piece.length) for m in sent), self._size),
        )
        return list(zip(due, incoming.split([message.piece.length for message in due]), strict=True))


def _sums(lengths: Iterable[tuple[int, int]], size: int) -> list[int]:
    """Elements for each of `size` ranks, from (rank, elements)."""
    total = [0] * size
    for rank, length in lengths:
        total[rank] += length
    return total


def _cut(flat: Tensor, start: int, piece: Piece) -> Tensor:
    return flat[start : start + piece.length]


def _cover(matrix: Matrix) -> list[Piece]:
    """Pieces that make up the matrix once: replicas are left out, the home's own are preferred."""
    at: dict[int, Piece] = {}
    for piece in sorted(matrix.pieces, key=lambda piece: (piece.rank != matrix.home, piece.rank)):
        at.setdefault(piece.offset, piece)
    chosen, end = [at[offset] for offset in sorted(at)], 0
    for piece in chosen:
        assert piece.offset == end, f"elements {end}..{piece.offset} of a matrix have no owner, or two"
        end += piece.length
    assert end == matrix.shape[0] * matrix.shape[1], "the end of a matrix has no owner"
    return chosen
