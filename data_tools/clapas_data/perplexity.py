"""An n-gram model of one of a corpus's sources, as a file that the step `perplexity` reads.

The source's text goes through the steps that stand before `perplexity` in the corpus file. A tenth of its documents,
by the hash of their text, is left out of the counts: their perplexities say what is head, middle and tail, unless
another source is named for that, as CCNet takes the crawl itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from clapas.recipe.errors import UserError
from clapas_data.chunks import BATCH_BYTES
from clapas_data.corpus import Corpus, read_corpus
from clapas_data.files import make_folder
from clapas_data.prepare import corpus_key, prepare
from clapas_data.steps.personal import Personal
from clapas_data.text.batch import TextBatch
from clapas_data.text.hash import text_hash
from clapas_data.text.ngram_counts import Counter
from clapas_data.text.ngram_model import NgramModel
from clapas_data.workers import Workers

ORDERS = range(2, 6)
LEFT_OUT = 10
"""One document of so many is calibrated on, not counted."""


def train_perplexity(
    corpus_name: str | Path,
    *,
    source: str,
    out: Path,
    calibrate: str | None = None,
    order: int = 3,
    workers: int | None = None,
    overrides: Sequence[str] = (),
) -> NgramModel:
    """Train a model on a source and write it. Raises UserError for an unknown source, or one with too little text.

    overrides: of the corpus file, as `clapas_data.build.build` takes them.
    """
    corpus = read_corpus(corpus_name, overrides)
    for name in (source, *([calibrate] if calibrate else [])):
        if name not in corpus.sources:
            raise UserError(f"corpus {corpus.name} has no source {name}", wanted=" or ".join(corpus.sources))
    if order not in ORDERS:
        raise UserError("not an order of n-grams", found=order, wanted=f"{ORDERS.start} to {ORDERS.stop - 1} words")
    make_folder(out.absolute().parent)
    with Workers(workers) as pool:
        reference = _alone(corpus, source)
        texts = prepare(reference, pool)
        counter = Counter(order)
        for batch in _batches(text for text in texts.texts("train") if calibrate or not _left_out(text)):
            counter.add(batch)
        if not counter.words:
            raise UserError(f"source {source}: no word to train a model on", where=corpus.sources[source].origin)
        model = counter.model(f"{corpus.name}, source {source}", corpus_key(reference))
        if calibrate:
            chosen = prepare(_alone(corpus, calibrate), pool).texts("train")
        else:
            chosen = (text for text in texts.texts("train") if _left_out(text))
        found = np.concatenate([[], *(model.perplexity(batch) for batch in _batches(chosen))])
    found = found[np.isfinite(found)]
    if not len(found):
        raise UserError(
            f"source {calibrate or source}: no document to calibrate on",
            found=f"{counter.documents} documents, of which one in {LEFT_OUT} is taken",
            way_out="a larger source, or another one to calibrate on: --calibrate NAME",
        )
    percentiles = tuple(np.percentile(found, np.arange(101)).tolist())
    model = NgramModel(model.header.model_copy(update={"percentiles": percentiles}), model.tables)
    model.write(out)
    return model


def summary(model: NgramModel, path: Path) -> str:
    """A model in one line."""
    header = model.header
    low, middle, high = (header.percentiles[place] for place in (30, 50, 60))
    size = 8 * sum(header.slots) / 2**20
    return (
        f"{path}: {len(header.slots)}-grams of {header.words:,} words of {header.origin}, {size:,.0f} MiB; "
        f"perplexity of its calibration: 30 % under {low:,.0f}, half under {middle:,.0f}, 60 % under {high:,.0f}"
    )


def _alone(corpus: Corpus, name: str) -> Corpus:
    """A corpus of one source, with the steps before `perplexity`, and `personal` wherever it stands: neither the cache
    nor a model keeps what it replaces. Near-copies of held-out text may stay."""
    source = corpus.sources[name]
    names = [step.step for step in corpus.steps]
    stop = names.index("perplexity") if "perplexity" in names else len(names)
    before = tuple(step for place, step in enumerate(corpus.steps) if place < stop or isinstance(step, Personal))
    kept = {step.step for step in before}
    changes = {step: change for step, change in source.steps.items() if step in kept}
    source = source.model_copy(update={"steps": changes, "weight": None})
    held_out = tuple(choice for choice in corpus.held_out if choice.source in (None, name))
    update = {"sources": {name: source}, "steps": before, "held_out": held_out, "decontaminate": None}
    return corpus.model_copy(update=update)


def _left_out(text: str) -> bool:
    return int.from_bytes(text_hash(text.encode())[:4], "little") % LEFT_OUT == 0


def _batches(texts: Iterable[str]) -> Iterator[TextBatch]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= BATCH_BYTES:
            yield TextBatch(batch, ids=[""] * len(batch))
            batch, size = [], 0
    if batch:
        yield TextBatch(batch, ids=[""] * len(batch))
