"""Which implementation runs, and that the choice is not paid for on a CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from threading import Thread

import pytest
import torch

import clapas_kernels
from clapas_kernels import explain, rms_norm, use
from clapas_kernels.proof.interpreter import repaired
from kernels.contract import Operators

NO_OPERATIONS = {"explain", "use", "dequantise", "Documents", "AmaxHistory", "LinearAmax"}
X, WEIGHT = torch.ones(2, 8), torch.ones(8)


def operators_called() -> int:
    with repaired(), Operators() as seen:
        rms_norm(X, WEIGHT, 1e-6)
    return len(seen.calls)


def test_cpu_tensors_take_the_reference_as_plain_pytorch() -> None:
    """No operator is called, unless Triton is asked for."""
    assert operators_called() == 0
    with use("triton"):
        assert operators_called() == 1
        with use("reference"):
            assert operators_called() == 0
        assert operators_called() == 1
    assert operators_called() == 0


def test_use_ends_with_an_error_too() -> None:
    with pytest.raises(KeyError), use("triton"):
        raise KeyError
    assert operators_called() == 0


def test_use_holds_in_all_threads() -> None:
    """A backward pass on an accelerator runs in PyTorch's own."""
    called: list[int] = []
    with use("triton"):
        thread = Thread(target=lambda: called.append(operators_called()))
        thread.start()
        thread.join()
    assert called == [1]


def test_use_knows_two_implementations() -> None:
    with pytest.raises(ValueError, match='found \'cuda\'; must be "reference" or "triton"'), use("cuda"):  # pyright: ignore[reportArgumentType] the mistake
        pass


def test_explain_names_every_operation_and_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with use("triton"):
        explain()
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} == set(clapas_kernels.__all__) - NO_OPERATIONS
    pytorchs = ("attention", "fp8_linear")  # which Triton does not replace
    ours = [line for line in lines if not line.startswith(pytorchs)]
    assert all(line.split()[1] == "triton" and 'by clapas_kernels.use("triton")' in line for line in ours)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what holds without an accelerator")
@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ("", "set TRITON_INTERPRET=1 before Python starts"),
        ("import sys; sys.modules['triton'] = None", "triton is not installed"),
    ],
)
def test_without_what_triton_needs_the_reference_runs(before: str, reason: str) -> None:
    """Kernels' files are imported all the same; asking for Triton says what is missing."""
    code = f"""{before}
import torch, clapas_kernels as k
x = torch.ones(2, 8)
print(k.rms_norm(x, x[0], 0.0).sum().item())
k.explain()
with k.use("triton"):
    k.rms_norm(x, x[0], 0.0)
"""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert result.stdout.startswith("16.0")
    assert "reference  no accelerator is visible to PyTorch" in result.stdout
    assert reason in result.stderr.splitlines()[-1]
