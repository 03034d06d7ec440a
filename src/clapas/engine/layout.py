"""How the ranks of a run share its work: copies of the model, and within one its weights and its sequences.

Tensor ranks hold the same samples and each a part of the weights; sequence ranks hold the same samples and each a part
of their tokens; data ranks hold different samples. Those that talk most are numbered nearest to each other, to share a
node: rank = (data * sequence_size + sequence) * tensor_size + tensor. Knows no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from clapas.recipe.errors import UserError

if TYPE_CHECKING:
    from clapas.recipe.recipe import Recipe


class Place(NamedTuple):
    """Where one rank stands in each dimension of a layout, from 0."""

    data: int
    sequence: int
    tensor: int


class Layout(NamedTuple):
    """How many ranks there are in each dimension."""

    data: int
    sequence: int = 1
    tensor: int = 1

    @property
    def size(self) -> int:
        """All ranks."""
        return self.data * self.sequence * self.tensor

    def place(self, rank: int) -> Place:
        """Where a rank stands."""
        rest, tensor = divmod(rank, self.tensor)
        return Place(*divmod(rest, self.sequence), tensor)

    def __str__(self) -> str:
        """For a person: `4 ranks`, or `2 data x 2 tensor ranks`."""
        parts = [f"{size} {name}" for name, size in zip(self._fields, self, strict=True) if size > 1]
        if len(parts) == 1 and self.data > 1:
            parts = [str(self.data)]
        return f"{' x '.join(parts) or '1'} rank{'s' if self.size > 1 else ''}"


def layout_of(recipe: Recipe, world_size: int) -> Layout:
    """The layout of a recipe on `world_size` ranks. Raises UserError where the ranks do not make whole copies."""
    tensor, sequence = recipe.parallel.tensor, recipe.parallel.sequence
    copy = tensor * sequence
    if world_size % copy:
        key = "parallel.tensor" if tensor > 1 else "parallel.sequence"
        raise UserError(
            "the ranks do not make whole copies of the model",
            where=recipe.place(key),
            found=f"{Layout(world_size)}; one copy takes {tensor} tensor x {sequence} sequence",
            wanted=f"a multiple of {copy}",
            way_out=f"start {-(-world_size // copy) * copy} ranks (`--nproc`), or lower {key}",
        )
    return Layout(world_size // copy, sequence, tensor)
