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
COLOURS = ("#b5482a", "#2a6f97", "#7a9e3f", "#d9a441", "#6b4c9a", "#4f5d75", "#c77f9b", "#3d8b83")
WIDTH, HEIGHT = 7.2, 2.9  # inches; an SVG scales to its column
BESIDE_STEPS = ("time/checkpoint", "time/evaluation")
BY_PART = (
    ("Loss by source (nats a token)", "loss/", False),
    ("Gradient norm by part, before clipping", "grad_norm/", True),
    ("Weight norm by part", "weight_norm/", True),
    ("Activations by part (root mean square)", "activation_rms/", True),
)
"""Title, the columns' prefix, whether the axis is logarithmic."""
OF_SPLITS = {
    "Bits per byte, held out": "bits_per_byte",
    "Pairs the right way round, held out": "rewards/accuracies",
    "Margin of rewards, held out": "rewards/margins",
}
"""Title and column of validation rows, where they have it."""


def run_plots(rows: list[Row]) -> dict[str, str]:
    """Title -> SVG, in the order of a page. Plots without data are left out."""
    steps = [row for row in rows if "split" not in row]
    validation = [row for row in rows if "split" in row and "loss" in row]
    plots = {
        "Loss (nats a token)": _svg(lambda axes: _loss(axes, steps, validation)),
        "Learning rate": _svg(lambda axes: _line(axes, steps, "learning_rate")),
        "Gradient norm, before clipping": _svg(lambda axes: _line(axes, steps, "grad_norm", log=True)),
        "Throughput (tokens/s)": _svg(lambda axes: _throughput(axes, steps)),
    }
    if any("time/forward" in row for row in steps):
        plots["Where the time of a step goes (s)"] = _svg(lambda axes: _stacked(axes, steps, "time/"))
    plots |= {
        title: _svg(lambda axes, prefix=prefix, log=log: _by_part(axes, steps, prefix, log=log))
        for title, prefix, log in BY_PART
        if any(key.startswith(prefix) for row in steps for key in row)
    }
    if any(row.get("memory_peak_bytes") for row in steps):
        plots["Memory of the fullest rank (GB)"] = _svg(lambda axes: _memory(axes, steps))
    if any(row.get("joules_per_token") for row in steps):
        plots["Energy (J a token)"] = _svg(lambda axes: _line(axes, steps, "joules_per_token"))
    for title, key in OF_SPLITS.items():
        if rows_with := [row for row in validation if row.get(key) is not None]:
            plots[title] = _svg(lambda axes, key=key, rows=rows_with: _line(axes, rows, key, marker="o"))
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
    known = [row for row in rows if row.get(key) is not None]
    axes.plot([row["step"] for row in known], [row[key] for row in known], color=ACCENT, linewidth=1, marker=marker)
    if log:
        _logarithmic(axes)


def _by_part(axes: Axes, rows: list[Row], prefix: str, *, log: bool) -> None:
    """A line for each column that begins with `prefix`, smoothed; the raw values are too many to tell apart."""
    for key, colour in zip(_keys(rows, prefix), COLOURS * len(rows), strict=False):
        known = [row for row in rows if row.get(key) is not None]
        values = smooth([row[key] for row in known])
        axes.plot([row["step"] for row in known], values, color=colour, linewidth=1.2, label=key.removeprefix(prefix))
    if log:
        _logarithmic(axes)
    _legend_beside(axes)


def _stacked(axes: Axes, rows: list[Row], prefix: str) -> None:
    """The parts of a step on top of each other; the first row is left out, for it also holds the warm-up."""
    rows = rows[1:] or rows
    keys = [key for key in _keys(rows, prefix) if key not in BESIDE_STEPS and any(row.get(key) for row in rows)]
    values = [smooth([row.get(key) or 0.0 for row in rows]) for key in keys]
    labels = [key.removeprefix(prefix) for key in keys]
    axes.stackplot([row["step"] for row in rows], values, labels=labels, colors=COLOURS, alpha=0.85, linewidth=0)
    axes.set_ylim(0, None)
    _legend_beside(axes)


def _memory(axes: Axes, rows: list[Row]) -> None:
    steps = [row["step"] for row in rows]
    for key, label, colour in (
        ("memory_peak_bytes", "most until then", ACCENT),
        ("memory_reserved_bytes", "held", SECOND),
    ):
        axes.plot(steps, [row.get(key, 0) / 1e9 for row in rows], color=colour, linewidth=1.2, label=label)
    axes.set_ylim(0, None)
    axes.legend(frameon=False, loc="lower right")


def _keys(rows: list[Row], prefix: str) -> list[str]:
    """The columns that begin with a prefix, in the order of the rows."""
    return list(dict.fromkeys(key for row in rows for key in row if key.startswith(prefix)))


def _logarithmic(axes: Axes) -> None:
    from matplotlib.ticker import LogFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(LogFormatter())  # 0.5, not 5 × 10^-1
    axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))


def _legend_beside(axes: Axes) -> None:
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.2)


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
