"""The loss of a run, drawn in the terminal."""

from __future__ import annotations

from pathlib import Path

from clapas.ledger.ledger import read_json_lines
from clapas.recipe.errors import UserError

COLUMNS, LINES = 76, 18


def loss_plot(run: Path) -> str:
    """Training and held-out loss against steps, as text. Raises UserError where the run has logged no step."""
    import plotext

    from clapas.report.plots import smooth

    path = run / "metrics.jsonl"
    rows = read_json_lines(path) if path.is_file() else []
    steps = [row for row in rows if "split" not in row]
    if not steps:
        raise UserError("this run has logged no step yet", where=run, way_out="train it first: `clapas train`")
    validation = [row for row in rows if "split" in row and "loss" in row]
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(COLUMNS, LINES)
    plotext.plot([row["step"] for row in steps], smooth([row["loss"] for row in steps]), label="training", marker="dot")
    if validation:
        places = [row["step"] for row in validation]
        plotext.scatter(places, [row["loss"] for row in validation], label="held out", marker="x")
    plotext.title("loss (nats a token)")
    plotext.xlabel("step")
    return plotext.uncolorize(plotext.build())
