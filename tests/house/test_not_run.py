"""docs/not-run.md says what no machine here has run: it is generated, and up to date."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_markers_say(tmp_path: Path) -> None:
    """Collecting the tests again writes the same page; `make not-run` mends it."""
    page = tmp_path / "page.md"
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "--not-run", str(page), "tests/gpu"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert page.read_text() == (ROOT / "docs/not-run.md").read_text()


def test_the_readme_counts_them() -> None:
    """What was not run is counted as unproven where everybody reads."""
    rows = (ROOT / "docs/not-run.md").read_text().count("\n| `tests/")
    assert f"counts {rows} unproven tests" in (ROOT / "README.md").read_text()
