"""The tests of the kernels run in triton's interpreter; what compiles does so in a process of its own.

Without triton (it is for Linux only) there is nothing to test here but that the references run, which tests/model does.
tests/conftest.py turns the interpreter on, but not beside a GPU: there `TRITON_INTERPRET=1 pytest tests/kernels`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

is_ready = find_spec("triton") and os.environ.get("TRITON_INTERPRET") == "1"
collect_ignore_glob = [] if is_ready else ["*"]


@pytest.fixture(params=["reference", "triton"])
def implementation(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each in turn; kernels see a small accelerator and run with the semantics of one."""
    from clapas_kernels import use
    from clapas_kernels.proof.interpreter import repaired
    from clapas_kernels.target import TARGETS, assume
    from kernels.contract import MULTIPROCESSORS

    with repaired(), assume(TARGETS["sm_90"], MULTIPROCESSORS), use(request.param):
        yield request.param
