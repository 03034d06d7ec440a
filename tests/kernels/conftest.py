"""The tests of the kernels run in triton's interpreter; what compiles does so in a process of its own.

Without triton (it is for Linux only) there is nothing to test here but that the references run, which tests/model does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

INTERPRET = "TRITON_INTERPRET"

if "triton" in sys.modules and os.environ.get(INTERPRET) != "1":
    raise RuntimeError(f"triton was imported before tests/kernels could set {INTERPRET}=1: who imports it?")
os.environ[INTERPRET] = "1"

collect_ignore_glob = [] if find_spec("triton") else ["*"]


@pytest.fixture(params=["reference", "triton"])
def implementation(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each in turn; kernels see a small accelerator and run with the semantics of one."""
    from clapas_kernels import use
    from clapas_kernels.proof.interpreter import repaired
    from clapas_kernels.target import TARGETS, assume
    from kernels.contract import MULTIPROCESSORS

    with repaired(), assume(TARGETS["sm_90"], MULTIPROCESSORS), use(request.param):
        yield request.param
