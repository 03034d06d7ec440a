"""`clapas report RUN`: a run as one self-contained HTML page, which opens anywhere and fetches nothing."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from clapas.ledger.ledger import Totals, read_json_lines, read_ledger, sum_ledger
from clapas.loader.readers import data_that_ran
from clapas.recipe.errors import UserError
from clapas.recipe.files import atomic_write
from clapas.recipe.recipe import Recipe
from clapas.report.plots import run_plots
from clapas.train.run_folder import read_outcome, read_run_recipe
from clapas_data.manifest import Manifest, open_manifest

JOULES_IN_KWH = 3.6e6

STYLE = """
:root { color-scheme: light; --ink: #1f2933; --soft: #667085; --line: #e4e0d8; --paper: #fbfaf7; --accent: #b5482a; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 28px; margin: 0; } h2 { font-size: 18px; margin: 40px 0 12px; }
.sub { color: var(--soft); margin: 4px 0 24px; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; }
.fact { background: white; border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
.fact b { display: block; font-size: 20px; } .fact span { color: var(--soft); font-size: 13px; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(460px, 1fr)); gap: 16px; }
figure { margin: 0; background: white; border: 1px solid var(--line); border-radius: 8px; padding: 12px; }
figcaption { font-weight: 600; margin-bottom: 6px; } svg { width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; background: white; border: 1px solid var(--line); }
th, td { text-align: left; padding: 6px 10px; border-bottom: 1px solid var(--line); }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
pre { overflow-x: auto; background: white; border: 1px solid var(--line); padding: 12px; }
"""


def report(run: Path, out: Path | None = None) -> Path:
    """Write a run's page (default RUN/report.html). Raises UserError where `run` is not a run or has no logged step."""
    recipe = read_run_recipe(run)
    rows = read_json_lines(run / "metrics.jsonl") if (run / "metrics.jsonl").is_file() else []
    if not any("split" not in row for row in rows):
        raise UserError("this run has logged no step yet", where=run, way_out="train it first: `clapas train`")
    path = out or run / "report.html"
    atomic_write(path, render(run, recipe, rows))
    return path


def render(run: Path, recipe: Recipe, rows: list[dict[str, Any]]) -> str:
    """The page's HTML."""
    events = read_ledger(run)
    totals = sum_ledger(events)
    outcome = read_outcome(run)
    ended = outcome["reason"] if outcome else "still going on, or killed"
    parameters = recipe.model.parameters()
    plots = "".join(
        f"<figure><figcaption>{html.escape(title)}</figcaption>{svg}</figure>" for title, svg in run_plots(rows).items()
    )
    title = html.escape(recipe.name)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title} - Clapas</title>"
        f"<meta name=viewport content='width=device-width'><style>{STYLE}</style><main>"
        f"<h1>{title}</h1><p class=sub>{parameters:,} parameters, ZeRO-{recipe.parallel.zero_stage}, "
        f"{recipe.precision}; last segment: {html.escape(ended)}</p>"
        f"<div class=facts>{_facts(rows, totals, recipe)}</div>"
        f"<h2>Curves</h2><div class=plots>{plots}</div>"
        f"{_data(run, recipe)}{_segments(events)}"
        f"<h2>Recipe</h2><pre>{html.escape((run / 'recipe.yaml').read_text())}</pre></main></html>"
    )


def _facts(rows: list[dict[str, Any]], totals: Totals, recipe: Recipe) -> str:
    steps = [row for row in rows if "split" not in row]
    validation = [row for row in rows if "split" in row and "loss" in row]
    rates = sorted(row["tokens_per_second"] for row in steps)
    facts = {
        "steps": f"{steps[-1]['step']:,} of {recipe.total_steps:,}",
        "tokens": f"{steps[-1]['tokens']:,}",
        "training loss": f"{steps[-1]['loss']:.4f}",
        "tokens/s (median)": f"{rates[len(rates) // 2]:,.0f}",
        "model FLOPs": f"{totals.flops:.3g}",
        "wall time": f"{totals.seconds:,.0f} s",
        f"energy{'' if totals.energy_boundary is None else f' ({totals.energy_boundary})'}": _energy(totals),
        "segments": str(totals.segments),
    }
    if validation and validation[-1].get("bits_per_byte") is not None:
        facts["bits per byte, held out"] = f"{validation[-1]['bits_per_byte']:.4f}"
    if validation and "rewards/accuracies" in validation[-1]:
        facts["pairs the right way round, held out"] = f"{validation[-1]['rewards/accuracies']:.1%}"
    return "".join(f"<div class=fact><b>{value}</b><span>{name}</span></div>" for name, value in facts.items())


def _energy(totals: Totals) -> str:
    """Kilowatt-hours and joules a token, or that nothing was measured."""
    joules = totals.energy_joules
    if isinstance(joules, str):
        return joules
    return f"{joules / JOULES_IN_KWH:,.3g} kWh, {joules / max(1, totals.tokens_computed):.3g} J a token"


def _data(run: Path, recipe: Recipe) -> str:
    try:
        manifest = data_that_ran(run, recipe, open_manifest(recipe.data.path))
    except UserError as error:
        return f"<h2>Data</h2><p>{html.escape(error.what)}: {html.escape(str(recipe.data.path))}</p>"
    lines = "".join(
        f"<tr><td>{html.escape(source)}<td>{html.escape(split)}<td>{html.escape(manifest.sources[source].licence)}"
        f"<td class=n>{documents:,}<td class=n>{tokens:,}"
        for (source, split), (documents, tokens) in _by_source(manifest).items()
    )
    return (
        f"<h2>Data</h2><table><tr><th>source<th>split<th>licence<th class=n>documents<th class=n>tokens{lines}</table>"
    )


def _by_source(manifest: Manifest) -> dict[tuple[str, str], tuple[int, int]]:
    """(source, split) -> (documents, tokens)."""
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for place, shard in enumerate(manifest.shards):
        documents, tokens = sums.get((shard.source, shard.split), (0, 0))
        left = manifest.left(place)
        sums[shard.source, shard.split] = documents + left.documents, tokens + left.tokens
    return sums


def _segments(events: list[dict[str, Any]]) -> str:
    lines = ""
    for event in events:
        facts = {key: value for key, value in event.items() if key not in ("event", "time", "segment", "totals")}
        text = ", ".join(f"{key} {_short(value)}" for key, value in facts.items())
        lines += f"<tr><td class=n>{event.get('segment', '')}<td>{html.escape(event['event'])}<td>{html.escape(text)}"
    return f"<h2>Ledger</h2><table><tr><th class=n>segment<th>event<th>facts{lines}</table>"


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:12]}…"
