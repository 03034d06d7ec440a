"""`clapas data mix`, and its plots: a bar for each stage, of its sources."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clapas.loader.mix import mix_of_folder, mix_of_recipe, mix_table
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import read_recipe
from clapas_data.manifest import open_manifest

COLUMNS = 76
IN_TERMINAL = Path("-")
KINDS = (".svg", ".png", ".pdf")


def mix_command(source: str, overrides: Sequence[str], *, as_json: bool = False, plot: Path | None = None) -> str:
    """What a recipe reads, or a folder of shards holds, as a table or JSON.

    plot: a file to draw into, or `-` for the terminal: then the drawing follows the table, and goes without JSON.
    """
    if plot not in (None, IN_TERMINAL) and plot.suffix.lower() not in KINDS:
        raise UserError("not a plot's file", where="--plot", found=plot, wanted=f"a name with {', '.join(KINDS)}")
    if plot is not None and not plot.parent.is_dir():
        raise UserError("no such folder", where="--plot", found=plot.parent, wanted="one that is there")
    mix = _mix(source, overrides)
    if plot not in (None, IN_TERMINAL):
        draw_mix(mix, plot)
    if as_json:
        return json.dumps(mix, ensure_ascii=False, indent=2)
    table = mix_table(mix)
    return f"{table}\n\n{mix_plot(mix)}" if plot == IN_TERMINAL else table


def _mix(source: str, overrides: Sequence[str]) -> dict[str, Any]:
    if Path(source).is_dir():
        if overrides:
            raise UserError("a folder has nothing to override", where=source, found=" ".join(overrides))
        return mix_of_folder(open_manifest(Path(source)))
    recipe = read_recipe(source, list(overrides))
    return mix_of_recipe(recipe, open_manifest(recipe.data.path))


def _bars(mix: dict[str, Any]) -> tuple[list[str], dict[str, list[float]]]:
    """(names of the bars, source -> its percentage of each): what there is, then the stages."""
    parts = [{**mix["data"], "name": "the data"}, *mix.get("stages", ())]
    sources = dict.fromkeys(row["source"] for part in parts for row in part["sources"])
    found: dict[str, list[float]] = {name: [0.0] * len(parts) for name in sources}
    for place, part in enumerate(parts):
        for row in part["sources"]:
            found[row["source"]][place] = 100 * row["share"]
    return [part["name"] for part in parts], found


def mix_plot(mix: dict[str, Any]) -> str:
    """The shares drawn in the terminal."""
    import plotext

    names, sources = _bars(mix)
    charts: list[str] = []
    for place, name in enumerate(names):
        plotext.clear_figure()
        shares = [round(own[place], 2) for own in sources.values()]
        plotext.simple_bar(list(sources), shares, width=COLUMNS, title=f"{name} (%)")
        charts.append(plotext.uncolorize(plotext.build()).rstrip())
    return "\n\n".join(charts)


def draw_mix(mix: dict[str, Any], path: Path) -> None:
    """The shares, and of a run each source's epochs, into a file. Raises UserError without matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise UserError("a plot needs matplotlib", way_out="pip install 'clapas[report]'") from None
    mpl.use("agg")
    from matplotlib import pyplot as plt

    from clapas.report.plots import COLOURS

    names, sources = _bars(mix)
    rows = mix["all"]["sources"] if "all" in mix else []
    with plt.rc_context({"font.size": 9, "svg.hashsalt": "clapas"}):
        figure, panels = plt.subplots(
            1, 2 if rows else 1, figsize=(9 if rows else 5, 3.2), layout="constrained", squeeze=False
        )
        axes = panels[0][0]
        below = [0.0] * len(names)
        for (source, shares), colour in zip(sources.items(), COLOURS * len(sources), strict=False):
            axes.bar(names, shares, bottom=below, label=source, color=colour)
            below = [low + share for low, share in zip(below, shares, strict=True)]
        axes.set_ylabel("tokens (%)")
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
        if rows:
            panels[0][1].barh([row["source"] for row in rows], [row["epochs"] for row in rows], color=COLOURS[0])
            panels[0][1].set_xlabel("epochs of the run")
            panels[0][1].invert_yaxis()
        for panel in panels[0]:
            panel.spines[["top", "right"]].set_visible(False)
        figure.savefig(path)
        plt.close(figure)
