"""A plan for a person: a table of layouts, and where the memory goes as bars."""

from __future__ import annotations

from typing import Any

BAR = 48
"""Characters of a full device."""
SLOWER_SHOWN = 5
LETTERS = {
    "parameters": "P",
    "gradients": "G",
    "master": "M",
    "moments": "O",
    "buckets": "B",
    "gathered": "W",
    "activations": "A",
    "attention": "T",
    "loss": "L",
    "working": "w",
    "slack": ".",
}


def plan_table(plan: dict[str, Any]) -> str:
    """The plan as text."""
    trained = plan["trained_parameters"]
    train = "" if trained == plan["parameters"] else f" and {trained:,} that train"
    lines = [
        f"{plan['recipe']}: {plan['parameters']:,} parameters{train}, {plan['tokens']:,} tokens, "
        f"{plan['precision']}, on "
        f"{plan['nodes']} node{'s' if plan['nodes'] > 1 else ''} of {plan['site']}: {plan['gpus']} x {plan['device']}",
    ]
    if plan["calibrated"]:
        calibrated = plan["calibrated"]
        lines.append(f"speeds times {calibrated['factor']:.2f}, as {calibrated['run']} measured")
    lines += ["", "  tokens/s/GPU   MFU    GB/GPU     days   GPU-hours        kWh    kgCO2e  disk GB  layout"]
    as_written = plan["as_written"]
    if as_written["problem"] is None:
        lines.append(_row("as written", as_written))
    lines += [_row(str(number), layout) for number, layout in enumerate(plan["layouts"], start=1)]
    if as_written["problem"] is not None:
        cannot = "fit" if "memory_bytes" in as_written else "run"
        lines += ["", f"as written it does not {cannot}: {as_written['problem']}"]
    lines += ["", *_bars(plan["layouts"])]
    best = plan["layouts"][0]
    lines += ["", _step(best), f"failures to expect: {best['failures']:.1f}, which cost {best['lost']:.1%} of the time"]
    lines += ["", "why not others:", *_reasons(plan["others"])]
    lines += ["", f"grid {plan['grid_gco2e_per_kwh']:g} gCO2e/kWh, PUE {plan['pue']:g}"]
    if not plan["is_checked_device"] and not plan["calibrated"]:
        lines.append(
            f"no published run on {plan['device']} has checked these speeds: they may be too high (docs/plan.md)"
        )
    if plan["unverified"]:
        lines.append(f"not verified of {plan['site']} (see its file): {', '.join(plan['unverified'])}")
    return "\n".join(lines)


def _row(name: str, layout: dict[str, Any]) -> str:
    return (
        f"  {layout['tokens_per_second_per_gpu']:>12,.0f} {layout['mfu']:>5.1%} {layout['memory_bytes'] / 1e9:>9,.1f} "
        f"{layout['days']:>8,.2f} {layout['gpu_hours']:>11,.1f} {layout['kwh']:>10,.1f} {layout['kgco2e']:>9,.2f} "
        f"{layout['disk'] / 1e9:>8,.1f}  {name}: {' '.join(layout['overrides'])}"
    )


def _bars(layouts: list[dict[str, Any]]) -> list[str]:
    """One bar a layout, as long as the device's memory, a letter for each part."""
    lines, used = [], []
    for number, layout in enumerate(layouts, start=1):
        available, bar, end = layout["memory_available_bytes"], "", 0.0
        for name, size in layout["memory_components"].items():
            end += size
            bar += LETTERS[name] * (round(end / available * BAR) - len(bar))
            used.append(name)
        share = layout["memory_bytes"] / available
        lines.append(f"  {number} |{bar:<{BAR}}| {share:.0%} of {available / 1e9:,.0f} GB")
    legend = ", ".join(f"{letter} {name}" for name, letter in LETTERS.items() if name in used)
    return [*lines, f"    {legend}"]


def _step(layout: dict[str, Any]) -> str:
    parts = layout["step_parts"]
    shares = {name: parts[name] / layout["step_seconds"] for name in ("products", "attention", "memory", "optimizer")}
    told = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    waiting = (parts["exposed"] + parts["bubble"]) / layout["step_seconds"]
    told += f", waiting for other ranks {waiting:.0%}, for the host {parts['launching'] / layout['step_seconds']:.0%}"
    before, beside = layout["forward_passes"]
    others = [f"{before} before the first step"] * (before > 0) + [f"{beside} in every step"] * (beside > 0)
    passes = f"; with forward passes of the objective's: {', '.join(others)}" if others else ""
    return f"a step of the first takes {layout['step_seconds']:.3g} s: {told}{passes}"


def _reasons(others: list[dict[str, Any]]) -> list[str]:
    """Those that fit by how much slower they are; the rest by their problem, those with the same together."""
    slower = [one for one in others if one["slower"] is not None]
    lines = [f"  {_short(one)}: {one['problem']}" for one in slower[:SLOWER_SHOWN]]
    if more := slower[SLOWER_SHOWN:]:
        lines.append(f"  {len(more)} more fit, and are {more[0]['slower']:.0%} to {more[-1]['slower']:.0%} slower")
    by_problem: dict[str, list[str]] = {}
    for one in others:
        if one["slower"] is None:
            by_problem.setdefault(one["problem"], []).append(_short(one))
    for problem, layouts in by_problem.items():
        named = layouts[0] if len(layouts) == 1 else f"{layouts[0]} and {len(layouts) - 1} like it"
        lines.append(f"  {named}: {problem}")
    return lines


def _short(one: dict[str, Any]) -> str:
    return " ".join(override.partition(".")[2] for override in one["overrides"])
