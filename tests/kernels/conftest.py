"""The tests of the kernels run in triton's interpreter; what compiles does so in a process of its own."""

from __future__ import annotations

import os
import sys

INTERPRET = "TRITON_INTERPRET"

if "triton" in sys.modules and os.environ.get(INTERPRET) != "1":
    raise RuntimeError(f"triton was imported before tests/kernels could set {INTERPRET}=1: who imports it?")
os.environ[INTERPRET] = "1"
