"""The report is one page that a browser shows, with nothing fetched."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from clapas.recipe.errors import UserError
from clapas.report.page import report
from clapas.report.plots import smooth
from clapas.report.terminal import loss_plot

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=5000",
)  # fmt: skip


@pytest.fixture(scope="module")
def page(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the trained run."""
    return report(trained_run, tmp_path_factory.mktemp("report") / "report.html")


def test_the_page_fetches_nothing(page: Path) -> None:
    """No script, no link, no image by address: it opens on a machine without a network."""
    text = page.read_text()
    assert not re.search(r"<(script|link|img|iframe)\b|url\((?!#)|@import", text)
    addresses = set(re.findall(r"https?://[^\s\"'<]+", text))
    assert all(address.startswith(("http://www.w3.org/", "http://purl.org/", "http://creativecommons.org/",
                                   "https://matplotlib.org/")) for address in addresses)  # fmt: skip


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: `.ci/run` installs it")
def test_a_browser_shows_it(page: Path, tmp_path: Path) -> None:
    """Headless Chromium lays out every plot and table, and takes a picture of it that is not blank."""
    assert CHROMIUM is not None
    picture = tmp_path / "page.png"
    common = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,2000"]
    dump = subprocess.run(
        [*common, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    assert dump.stdout.count("<figure>") == 8
    titles = (
        "Loss (nats a token)",
        "Bits per byte, held out",
        "Where the time of a step goes",
        "Gradient norm by part",
    )
    for words in (*titles, "fiches-travail", "segment_end", "not measured"):
        assert words in dump.stdout
    subprocess.run([*common, f"--screenshot={picture}", page.as_uri()], capture_output=True, timeout=120, check=True)
    assert picture.stat().st_size > 50_000


def test_the_loss_is_drawn_in_the_terminal_too(trained_run: Path) -> None:
    """As text, with its title."""
    assert "loss (nats a token)" in loss_plot(trained_run)


def test_not_a_run(tmp_path: Path) -> None:
    """Says so."""
    with pytest.raises(UserError, match="not a run"):
        report(tmp_path)


def test_smoothing_is_a_trailing_mean() -> None:
    """Of at most `window` values; the first ones have fewer."""
    assert smooth([2.0, 4.0, 6.0, 8.0], window=2) == [2.0, 3.0, 5.0, 7.0]
