"""`python -m clapas_kernels.proof`: prove the kernels on this machine, whatever it is; no GPU is used.

Prints a table, or JSON, on stdout; progress and what does not hold on stderr. Exit: 0 all claims hold, 1 one does not,
2 the arguments are wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from clapas_kernels.language import IS_INSTALLED
from clapas_kernels.proof import SUPPORTED
from clapas_kernels.proof.cases import all_cases
from clapas_kernels.proof.golden import differences
from clapas_kernels.proof.table import MeasuringError, Report, as_json, as_text, broken_claims, measured
from clapas_kernels.target import TARGETS


def main() -> int:
    """Measure, print, and hold against the claims and the golden file."""
    if not IS_INSTALLED:
        print(f"The proof needs triton {SUPPORTED}: pip install 'triton=={SUPPORTED}.*' (Linux only).", file=sys.stderr)
        return 2
    asked = _arguments()
    cases = [case for case in all_cases() if asked.operation in (None, case.operation)]
    print(f"{len(cases)} cases on {', '.join(asked.target) or 'no target'}: some minutes", file=sys.stderr)
    try:
        report = measured(cases, asked.target)
    except MeasuringError as error:
        print(error, file=sys.stderr)
        return 1
    print(as_json(report) if asked.json else as_text(report))
    wrong = list(broken_claims(cases, report))
    if asked.golden:
        wrong += differences(asked.golden, report)
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m clapas_kernels.proof",
        description="Prove the kernels without a GPU: traffic, races and bounds; registers, spills and occupancy.",
        epilog="Example: python -m clapas_kernels.proof --operation rms_norm --target sm_90,gfx942",
    )
    operations = sorted({case.operation for case in all_cases()})
    parser.add_argument("--operation", choices=operations, help="one; default: all")
    parser.add_argument("--target", type=_targets, default=list(TARGETS), help=f"of {','.join(TARGETS)}; default: all")
    parser.add_argument("--json", action="store_true", help="print JSON: what the golden file holds")
    parser.add_argument("--golden", type=_golden, metavar="FILE", help="also fail where a figure is not this file's")
    return parser.parse_args()


def _targets(text: str) -> list[str]:
    targets = [target for target in text.split(",") if target]
    for target in targets:
        if target not in TARGETS:
            raise argparse.ArgumentTypeError(f"found {target!r}; must be of {', '.join(TARGETS)}")
    return targets


def _golden(path: str) -> Report:
    try:
        return json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{path}: {error}; must be what --json printed") from error


if __name__ == "__main__":
    sys.exit(main())
