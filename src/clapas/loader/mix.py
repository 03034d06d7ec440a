"""What a recipe's run reads of each source, domain, licence and language, stage by stage; or what a folder holds.

`clapas data mix`: computed from the plan of the run and the manifest alone, no text is read. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from clapas.loader.plan import ALL_SOURCES, DataPlan
from clapas.recipe.recipe import Recipe
from clapas_data.manifest import Manifest

Values = dict[str, Any]

WORN = 4
"""Epochs after which reading the same text again teaches much less (Muennighoff et al., 2023, arXiv:2305.16264)."""
UNKNOWN = "not recorded"
BY = ("domain", "licence", "language")
"""What else a source's tokens are summed by."""


@dataclass(slots=True)
class _Read:
    """What was read of each source. epochs: over all sequence lengths together."""

    tokens: dict[str, float] = field(default_factory=dict)
    epochs: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, tokens: float, epochs: float) -> None:
        self.tokens[name] = self.tokens.get(name, 0) + tokens
        self.epochs[name] = self.epochs.get(name, 0) + epochs


def mix_of_recipe(recipe: Recipe, manifest: Manifest) -> Values:
    """The mixture of a recipe's run on its data.

    stages: each with `name`, `tokens`, its `sources` (see `_rows`), and tokens `by` domain, licence and language; all:
    the same of the whole run, its epochs those at the end; data: what there is to read; warnings: what to think of.
    Raises UserError where recipe and data do not fit together, or the rules of the mixture cannot hold.
    """
    plan = DataPlan.of_recipe(recipe, manifest)
    names = [stage.name or str(number) for number, stage in enumerate(recipe.all_stages, start=1)]
    reads = _reads(plan)
    sofar = _Read()
    stages: list[Values] = []
    for number, (name, own) in enumerate(zip(names, reads, strict=True)):
        for source in own.tokens:
            sofar.add(source, own.tokens[source], own.epochs[source])
        asked, why = _asked(plan, number)
        stages.append({"name": name, **_table(manifest, own, sofar.epochs, asked, why)})
    return {
        "recipe": recipe.name,
        "data": _folder(manifest, plan.split),
        "stages": stages,
        "all": {"name": "all", **_table(manifest, sofar, sofar.epochs, {}, {})},
        "warnings": warnings(plan),
    }


def _asked(plan: DataPlan, stage: int) -> tuple[dict[str, float], Mapping[str, str]]:
    """The share that each source's weight asks for in a stage, and what decided it otherwise."""
    if plan.shares:
        shares = plan.shares[stage]
        return {source: float(part) for source, part in shares.asked.items()}, shares.why
    first = next(phase.first_sample for phase in plan.phases if phase.stage == stage)
    mixture = plan.stretch(first).mixture
    return {} if mixture is None else {name: n / mixture.period for name, n in mixture.shares.items()}, {}


def mix_of_folder(manifest: Manifest, split: str = "train") -> Values:
    """What a folder of shards holds, in the same form: `data` alone."""
    return {"data": _folder(manifest, split)}


def warnings(plan: DataPlan) -> list[str]:
    """What a run's mixture should make one think: sources that are read more than four times."""
    whole = _Read()
    for read in _reads(plan):
        for name in read.tokens:
            whole.add(name, read.tokens[name], read.epochs[name])
    worn = {name: epochs for name, epochs in whole.epochs.items() if epochs > WORN}
    if not worn:
        return []
    told = ", ".join(f"{name} {epochs:,.1f}" for name, epochs in worn.items())
    return [
        f"read more than {WORN} times, after which it teaches little (Muennighoff et al., 2023): {told} epochs; "
        "data.max_epochs=4 gives what is over to the other sources"
    ]


def _reads(plan: DataPlan) -> list[_Read]:
    """What each stage reads."""
    assert plan.phases.total_steps is not None
    stages: dict[int, int] = {}
    for phase in plan.phases:
        stages.setdefault(phase.stage, phase.first_sample)
    borders = [*stages.values(), plan.phases.samples_after(plan.phases.total_steps)]
    return [_read(plan, start, stop) for start, stop in pairwise(borders)]


def _read(plan: DataPlan, start: int, stop: int) -> _Read:
    """What the samples `[start, stop)` of a run are of."""
    read = _Read()
    firsts = [stretch.first_sample for stretch in plan.stretches]
    for stretch, end in zip(plan.stretches, [*firsts[1:], stop], strict=True):
        first, last = max(start, stretch.first_sample), min(stop, end)
        if first >= last:
            continue
        before, after = stretch.drawn_until(first), stretch.drawn_until(last)
        for name, samples in stretch.samples.items():
            count = after[name] - before[name]
            tokens, epochs = count * stretch.sequence_length, count / samples
            if name != ALL_SOURCES:
                read.add(name, tokens, epochs)
                continue
            held = _tokens(plan.manifest, plan.split)
            for source, own in held.items():
                read.add(source, tokens * own / sum(held.values()), epochs)
    return read


def _tokens(manifest: Manifest, split: str) -> dict[str, int]:
    """Source -> tokens of a split that may be read."""
    found: dict[str, int] = {}
    for place in manifest.of_split(split):
        source = manifest.shards[place].source
        found[source] = found.get(source, 0) + manifest.left(place).tokens
    return found


def _folder(manifest: Manifest, split: str) -> Values:
    held = _Read({name: float(tokens) for name, tokens in _tokens(manifest, split).items()})
    return {"name": manifest.name, "hash": manifest.hash, "split": split, **_table(manifest, held, {}, {}, {})}


def _table(
    manifest: Manifest, read: _Read, epochs: Mapping[str, float], asked: Mapping[str, float], why: Mapping[str, str]
) -> Values:
    """`tokens` in all, a row for each source, and the tokens by what the sources are.

    A row: source, domain, licence, language, tokens, share; epochs: of it until then (None where nothing is read);
    asked: the share that its weight asks for (None where that is the share); why: what decided it otherwise.
    """
    total = sum(read.tokens.values())
    rows: list[Values] = []
    for name in {**read.tokens, **asked}:
        tokens = read.tokens.get(name, 0)
        facts = {key: getattr(manifest.sources[name], key) or UNKNOWN for key in BY}
        row = {"source": name, **facts, "tokens": round(tokens), "share": tokens / total if total else 0}
        rows.append({**row, "epochs": epochs.get(name), "asked": asked.get(name), "why": why.get(name)})
    return {"tokens": round(total), "sources": rows, "by": {key: _sums(rows, key) for key in BY}}


def _sums(rows: Iterable[Values], key: str) -> dict[str, int]:
    sums: dict[str, int] = {}
    for row in rows:
        sums[row[key]] = sums.get(row[key], 0) + row["tokens"]
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def mix_table(mix: Values) -> str:
    """The same for a person to read."""
    held = mix["data"]
    lines = [f"{held['name']}, {held['split']}: {held['tokens']:,} tokens, hash {held['hash'][:16]}"]
    if "stages" not in mix:
        return "\n".join([*lines, "", *_rows(held), *_by(held)])
    parts = mix["stages"] if len(mix["stages"]) == 1 else [*mix["stages"], mix["all"]]
    for part in parts:
        head = "all stages" if part is mix["all"] else f"stage {part['name']}"
        lines += ["", f"{head}: {part['tokens']:,} tokens", *_rows(part)]
    lines += _by(mix["all"])
    return "\n".join([*lines, *(f"\nwarning: {warning}" for warning in mix["warnings"])])


def _rows(part: Values) -> list[str]:
    """A line for each source."""
    heads = ["source", "tokens", "share", "asked", "epochs", "domain", "language", "licence"]
    cells = [heads]
    for row in part["sources"]:
        asked = "" if row["asked"] is None else _percent(row["asked"])
        epochs = "" if row["epochs"] is None else f"{row['epochs']:,.2f}"
        numbers = [f"{row['tokens']:,}", _percent(row["share"]), asked, epochs]
        cells.append([row["source"], *numbers, row["domain"], row["language"], row["licence"]])
    kept = [column for column in zip(*cells, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in kept]
    right = [column[0] in heads[1:5] for column in kept]
    lines = [
        "  " + "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in zip(*kept, strict=True)
    ]  # fmt: skip
    return [*lines, *(f"  {row['source']}: {row['why']}" for row in part["sources"] if row["why"])]


def _by(part: Values) -> list[str]:
    """The sums, those that say anything."""
    lines: list[str] = []
    for key, sums in part["by"].items():
        if list(sums) != [UNKNOWN]:
            told = ", ".join(f"{name} {_percent(tokens / max(1, part['tokens']))}" for name, tokens in sums.items())
            lines.append(f"by {key}: {told}")
    return ["", *lines] if lines else []


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if share >= 0.0001 or not share else f"{100 * share:.1e} %"
