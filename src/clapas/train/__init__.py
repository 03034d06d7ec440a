"""The loop, optimizer, schedule, telemetry. The package is callable: `clapas.train(recipe)` trains.

A package and a function of one name would hide each other, whichever was imported last.
"""

from __future__ import annotations

import sys
import types
from typing import Any


class _CallablePackage(types.ModuleType):
    def __call__(self, *arguments: Any, **named: Any) -> int:
        """See `clapas.train.train.train`."""
        from clapas.train.train import train

        return train(*arguments, **named)


sys.modules[__name__].__class__ = _CallablePackage
