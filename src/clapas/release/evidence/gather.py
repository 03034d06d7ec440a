"""From a run's folder to its evidence: recipe, ledger, metrics, data, lineage and measurements, read once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from clapas import __version__
from clapas.checkpoint.reader import CheckpointReader
from clapas.evaluate.load import model_config_of
from clapas.evaluate.record import EVENT
from clapas.evaluate.seal import model_seal
from clapas.ledger.ledger import Totals, read_json_lines, read_ledger, sum_ledger
from clapas.recipe.errors import UserError
from clapas.recipe.hashes import file_hash
from clapas.recipe.recipe import Recipe
from clapas.release.evidence.ancestry import Lineage, tokens_until
from clapas.release.evidence.evidence import Compute, Evidence, HeldOut, Loss, Measured
from clapas.release.evidence.public import public
from clapas.train.run_folder import read_run_recipe

LOSSES = 400
"""Most rows of the training loss that are kept: a plot shows no more."""


def gather(
    run: Path, reader: CheckpointReader, now: datetime | None = None, *, crawled: Collection[str] = ()
) -> Evidence:
    """The evidence of a run as it stands at a checkpoint of its own. now: its time, by default this moment.

    crawled: the sources, as people answered, whose internet domains are counted.
    Raises UserError where the run's data are not those that it read, or a recorded measurement was altered.
    """
    recipe, events = read_run_recipe(run), read_ledger(run)
    totals, config = sum_ledger(events), model_config_of(reader)
    lineage = Lineage(crawled)
    lineage.follow(run, recipe, reader.step, "this")
    return Evidence(
        clapas=__version__,
        time=_iso((now or datetime.now(UTC)).timestamp()),
        run=recipe.name,
        identity=reader.manifest.identity,
        execution=reader.manifest.execution,
        checkpoint=reader.folder.name,
        checkpoint_seal=model_seal(reader.folder),
        step=reader.step,
        steps=recipe.total_steps,
        tokens=tokens_until(run, recipe, reader.step),
        tokens_computed=totals.tokens_computed,
        objective=recipe.objective.name,
        adapters=None if recipe.lora is None else recipe.lora.identity(),
        recipe=public(recipe.model_dump(mode="python")),
        model=public(config.facts()),
        parameters=config.parameters(),
        active_parameters=config.active_parameters(),
        sequence_lengths=tuple(sorted({phase.sequence_length for phase in recipe.phases})),
        compute=_compute(run, recipe, events, totals),
        losses=tuple(_losses(run, reader.step)),
        held_out=tuple(_held_out(events, reader.step)),
        data=tuple(lineage.data),
        bases=tuple(lineage.bases),
        stems=tuple(lineage.stems),
        missing_stems=tuple(lineage.missing),
        measured=tuple(_measured(run, events, model_seal(reader.folder))),
        branch=public(totals.branch),
    )


def _compute(run: Path, recipe: Recipe, events: list[dict[str, Any]], totals: Totals) -> Compute:
    starts = [event for event in events if event["event"] == "segment_start"]
    environments = [orjson.loads(path.read_bytes()) for path in sorted((run / "segments").glob("*/environment.json"))]
    return Compute(
        flops=totals.flops,
        flops_by_parameters=6.0 * recipe.model.active_parameters() * totals.tokens_computed,
        seconds=totals.seconds,
        accelerator_seconds=totals.accelerator_seconds,
        segments=totals.segments,
        restarts=totals.restarts,
        rollbacks=totals.rollbacks,
        skipped_updates=totals.skipped_updates,
        checkpoints=totals.checkpoints,
        hosts=len({environment["host"] for environment in environments}),
        ranks=tuple(dict.fromkeys(event["ranks"] for event in starts)),
        devices=tuple(dict.fromkeys(event["device"] for event in starts)),
        began=_iso(min(event["time"] for event in events)),
        ended=_iso(max(event["time"] for event in events if event["event"] != EVENT)),
        energy_joules=totals.measured_joules,
        energy_boundary=totals.energy_boundary,
        versions=environments[-1]["versions"] if environments else {},
    )


def _losses(run: Path, step: int) -> Iterator[Loss]:
    """Rows of the training loss, evenly over the run, the first and the last among them."""
    rows = [row for row in read_json_lines(run / "metrics.jsonl") if "split" not in row and row["step"] <= step]
    rows = [row for row in rows if row.get("loss") is not None]
    stride = max(1, -(-len(rows) // LOSSES))
    kept = rows[::stride] + rows[-1:] * ((len(rows) - 1) % stride != 0)
    yield from (Loss(step=row["step"], loss=row["loss"]) for row in kept)


def _held_out(events: Iterable[dict[str, Any]], step: int) -> Iterator[HeldOut]:
    """Validations in the order of their steps; of a step that came again, the last."""
    rows = {(e["step"], e["split"]): e for e in events if e["event"] == "evaluation" and e["step"] <= step}
    for (at, split), event in sorted(rows.items()):
        yield HeldOut(
            step=at,
            split=split,
            loss=event["loss"],
            tokens=event.get("tokens_scored"),
            bits_per_byte=event.get("bits_per_byte"),
            text_bytes=event.get("text_bytes"),
        )


def _measured(run: Path, events: Iterable[dict[str, Any]], seal: str) -> Iterator[Measured]:
    """What was recorded of this checkpoint. Raises UserError where a file is not the one that the ledger names."""
    for event in events:
        if event["event"] != EVENT or event["seal"] != seal:
            continue
        path = run / event["file"]
        if not path.is_file() or file_hash(path) != event["sha256"]:
            raise UserError(
                "a recorded measurement is missing or was altered",
                where=path,
                wanted=f"SHA-256 {event['sha256']}, as the ledger says",
                way_out="bring it back, or measure again: `clapas eval RUN --record`",
            )
        content = public(orjson.loads(path.read_bytes()))
        yield Measured(
            kind=event["kind"],
            file=path.name,
            sha256=event["sha256"],
            items=path.with_suffix(".items.jsonl").name,
            items_sha256=event["items_sha256"],
            figures=public(event["figures"]),
            content=content,
        )


def _iso(seconds: float) -> str:
    """UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
