"""What every objective's section of the recipe can say. No torch."""

from __future__ import annotations

from typing import Any, ClassVar

from clapas.recipe.typed import Section


class ObjectiveSection(Section):
    """An objective's options.

    forward_before, forward_beside: forward passes without gradient over what the run reads, for `clapas plan`: before
    the first step, and in every step beside its own.
    """

    forward_before: ClassVar[int] = 0
    forward_beside: ClassVar[int] = 0

    def identity(self) -> dict[str, Any]:
        """What of it makes a run this run."""
        return self.model_dump(mode="json")
