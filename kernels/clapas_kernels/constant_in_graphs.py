"""`torch.compiler.assume_constant_result` without what it imports: the whole compiler, 1.4 s at every start.

It sets one attribute, which the compiler reads when it first meets the function; `tests/kernels` compares the two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")


def constant_in_graphs(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """A function whose result stands in a compiled graph as a constant: the compiler does not look into it."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined] # as torch._dynamo.decorators does
    return function
