"""The plots of a run as SVG, from the rows of its metrics.jsonl."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from clapas.recipe.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = dict[str, Any]
INK, ACCENT, SECOND = "#1f2933", "#b5482a", "#2a6f97"
WIDTH, HEIGHT = 7.2, 2.9  # inches; an SVG scales to its column


def run_plots(rows: list[Row]) -> dict[str, str]:
    """Title -> SVG: loss, learning rate, gradient norm, throughput. Plots without data are left out."""
    steps = [row for row in rows if "split" not in row]
    validation = [row for row in rows if "split" in row]
    plots = {
        "Loss (nats a token)": _svg(lambda axes: _loss(axes, steps, validation)),
        "Learning rate": _svg(lambda axes: _line(axes, steps, "learning_rate")),
        "Gradient norm, before clipping": _svg(lambda axes: _line(axes, steps, "grad_norm", log=True)),
        "Throughput (tokens/s)": _svg(lambda axes: _throughput(axes, steps)),
    }
    if validation:
        plots["Bits per byte, held out"] = _svg(lambda axes: _line(axes, validation, "bits_per_byte", marker="o"))
    return plots


def _loss(axes: Axes, steps: list[Row], validation: list[Row]) -> None:
    places = [row["step"] for row in steps]
    losses = [row["loss"] for row in steps]
    axes.plot(places, losses, color=ACCENT, alpha=0.25, linewidth=0.8)
    axes.plot(places, smooth(losses), color=ACCENT, linewidth=1.6, label="training (smoothed)")
    if validation:
        axes.plot(
            [row["step"] for row in validation],
            [row["loss"] for row in validation],
            color=SECOND,
            marker="o",
            markersize=4,
            label="held out",
        )
    axes.legend(frameon=False)


def _throughput(axes: Axes, steps: list[Row]) -> None:
    rates = [row["tokens_per_second"] for row in steps]
    axes.plot([row["step"] for row in steps], rates, color=ACCENT, linewidth=0.8)
    axes.set_ylim(0, sorted(rates)[int(len(rates) * 0.99)] * 1.15 if rates else 1)


def _line(axes: Axes, rows: list[Row], key: str, *, log: bool = False, marker: str = "") -> None:
    axes.plot([row["step"] for row in rows], [row[key] for row in rows], color=ACCENT, linewidth=1, marker=marker)
    if log:
        axes.set_yscale("log")


def smooth(values: list[float], window: int | None = None) -> list[float]:
    """A trailing mean over `window` values (by default a fiftieth of them all)."""
    window = window or max(1, len(values) // 50)
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    starts = [max(0, end - window) for end in range(1, len(values) + 1)]
    return [(sums[end] - sums[start]) / (end - start) for end, start in enumerate(starts, start=1)]


def _svg(draw: Callable[[Axes], None]) -> str:
    try:
        import matplotlib as mpl
    except ImportError:
        raise UserError("a report needs matplotlib", way_out="pip install 'clapas[report]'") from None
    mpl.use("svg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import MaxNLocator

    with plt.rc_context({"font.size": 9, "svg.hashsalt": "clapas", "axes.edgecolor": INK, "text.color": INK}):
        figure, axes = plt.subplots(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25)
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        draw(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        plt.close(figure)
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]
