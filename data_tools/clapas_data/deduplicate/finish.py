"""What deduplication leaves: `codes.bin`, a byte a document; `duplicates.parquet`, of which document each copy is one;
samples of what went; and what each step took in and gave out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clapas_data.chunks import Chunk, find_chunk, write_rejected
from clapas_data.codes import EMPTIED, HELD_OUT, NEAR_DUPLICATE, TRAIN
from clapas_data.deduplicate.arrays import Arrays, buckets
from clapas_data.deduplicate.lines import codes_before
from clapas_data.deduplicate.near import chosen_texts
from clapas_data.deduplicate.plan import Place, Plan
from clapas_data.deduplicate.stage import JoinStage, Tally, read_tally, write_values
from clapas_data.files import new_file
from clapas_data.pipeline import EXCERPT, SAMPLES, Rejected
from clapas_data.step_record import StepRecord
from clapas_data.steps.step import Across
from clapas_data.text.hash import text_hash
from clapas_data.text.spans import mixed

CODES_FILE = "codes.bin"
DUPLICATES = "duplicates.parquet"
SCHEMA = pa.schema(
    [
        pa.field("document", pa.int64(), nullable=False),  # its number in the corpus, of all that its steps let through
        pa.field("kept", pa.int64(), nullable=False),  # the one that stays in its place
        pa.field("jaccard", pa.float64(), nullable=False),  # of their sets of n-grams; 1 for the same text
        pa.field("component", pa.int64(), nullable=False),  # the first of all near duplicates that hang together
    ]
)


@dataclass(frozen=True)
class Finish(JoinStage):
    """The last stage."""

    name: ClassVar[str] = "deduplicate.finish"
    file: ClassVar[str] = CODES_FILE

    def run(self, task: int) -> None:
        """Write what is left to write; the codes last."""
        plan = self.plan
        links = _near_links(plan)
        with new_file(plan.path(DUPLICATES)) as partial, pq.ParquetWriter(partial, SCHEMA) as table:
            for rows in (*_exact_links(plan, links), links):
                columns = [pa.array(rows[name]) for name in SCHEMA.names]
                table.write_batch(pa.record_batch(columns, schema=SCHEMA))
        plan.path("rejected").mkdir(exist_ok=True)
        if plan.near and (samples := _samples(plan, links)):
            write_rejected(plan.path("rejected") / "near.parquet", samples)
        name = "codes-lines.bin" if plan.lines else codes_before(plan)
        write_values(plan.path(CODES_FILE), plan.array(name, np.uint8))


def _near_links(plan: Plan) -> dict[str, np.ndarray]:
    if plan.near is None:
        empty = np.zeros(0, np.int64)
        return {"document": empty, "kept": empty, "jaccard": np.zeros(0), "component": empty}
    with Arrays(plan.path("near-links.safetensors")) as arrays:
        return {name: arrays.read(name) for name in SCHEMA.names}


def _exact_links(plan: Plan, links: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """The exact duplicates, a bucket at a time; where the document of the same text has gone as well, with that one's
    keeper."""
    for bucket in range(buckets(plan.documents)):
        with Arrays(plan.path("exact-match", bucket)) as arrays:
            document, kept = arrays.read("document"), arrays.read("kept")
        rows = {"document": document, "kept": kept, "jaccard": np.ones(len(kept)), "component": kept}
        if len(links["document"]):
            places = np.minimum(np.searchsorted(links["document"], kept), len(links["document"]) - 1)
            gone = links["document"][places] == kept
            for name in ("kept", "jaccard", "component"):
                rows[name] = np.where(gone, links[name][places], rows[name])
        yield rows


def _samples(plan: Plan, links: Mapping[str, np.ndarray]) -> list[Rejected]:
    """Some near duplicates of each source that went, chosen by a hash of their numbers. value: their similarity."""
    chosen = np.argsort(mixed(links["document"].astype(np.uint64)))
    document, jaccard = links["document"][chosen], links["jaccard"][chosen]
    firsts = np.array([place.first for place in plan.chunks])
    chunk = np.searchsorted(firsts, document, "right") - 1
    names = sorted({place.source for place in plan.chunks})
    source = np.array([names.index(place.source) for place in plan.chunks])[chunk]
    found = []
    for number in range(len(names)):
        rows = np.flatnonzero(source == number)[:SAMPLES]
        for own in np.unique(chunk[rows]).tolist():
            its = rows[chunk[rows] == own]
            found += _samples_of(plan.chunks[own], document[its], jaccard[its])
    return found


def _samples_of(place: Place, documents: np.ndarray, jaccard: np.ndarray) -> Iterator[Rejected]:
    """Samples of one chunk: each of its batches is read once."""
    order = np.argsort(documents)
    wanted = np.zeros(place.documents, bool)
    wanted[documents - place.first] = True
    chunk = find_chunk(place.path)
    assert isinstance(chunk, Chunk)
    ids = (name for batch in chunk.batches("id") for name in batch.column("id").to_pylist())
    names = [name for name, is_one in zip(ids, wanted, strict=True) if is_one]
    texts = [text for _, some in chosen_texts(place, wanted) for text in some]
    for name, text, value in zip(names, texts, jaccard[order].tolist(), strict=True):
        yield Rejected(
            place.source, "deduplicate.near", "near_duplicate", name, value, text_hash(text.encode()), text[:EXCERPT]
        )


def steps(plan: Plan, seconds: Mapping[str, float]) -> list[StepRecord]:
    """What each step took in and gave out, of documents of either split. seconds: of each stage, by its name."""
    tally = read_tally(plan, "exact-tally.json")
    ends = [(sum(tally.documents), sum(tally.bytes)), _left(tally)]
    found = [_record("deduplicate", ends[0], ends[1], _seconds(seconds, "deduplicate.exact."))]
    if plan.near:
        tally = read_tally(plan, "near-tally.json")
        ends.append(_left(tally))
        reasons = {"near_duplicate": tally.documents[NEAR_DUPLICATE]}
        more = {"options": _options(plan.near), "reasons": reasons, "counts": tally.counts}
        found.append(_record("deduplicate.near", ends[-2], ends[-1], _seconds(seconds, "deduplicate.near."), **more))
    if plan.lines:
        tally = read_tally(plan, "line-tally.json")
        ends.append(_left(tally))
        reasons = {"empty": tally.documents[EMPTIED]}
        more = {"options": _options(plan.lines), "reasons": reasons, "changed": tally.counts["changed"]}
        found.append(_record("deduplicate.lines", ends[-2], ends[-1], _seconds(seconds, "deduplicate.lines."), **more))
    return found


def _left(tally: Tally) -> tuple[int, int]:
    """Documents and bytes of either split."""
    return tally.documents[TRAIN] + tally.documents[HELD_OUT], tally.bytes[TRAIN] + tally.bytes[HELD_OUT]


def _record(name: str, before: tuple[int, int], after: tuple[int, int], seconds: float, **more: Any) -> StepRecord:
    return StepRecord(
        name=name,
        documents_in=before[0],
        documents_out=after[0],
        bytes_in=before[1],
        bytes_out=after[1],
        seconds=seconds,
        **more,
    )


def _options(step: Across) -> dict[str, Any]:
    return step.model_dump(mode="json", exclude={"step"})


def _seconds(seconds: Mapping[str, float], stages: str) -> float:
    return round(sum(own for stage, own in seconds.items() if stage.startswith(stages)), 3)
