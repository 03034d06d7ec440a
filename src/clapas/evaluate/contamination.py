"""Which items of the tasks that a model was measured on stand in what it trained on.

Looked for as in Brown et al. (2020), appendix C, and as the step `decontaminate.evaluations` does: an n-gram of 13
words, lower-cased, punctuation aside; a text of 8 to 12 words is one n-gram of them all; a shorter one says too little
to be looked for. An item's texts are the strings of its row in the task's data. The training text is decoded from the
shards themselves, so this finds what the model read, whatever the corpus file says was removed before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from tokenizers import Tokenizer

from clapas.engine.ranks import Ranks, alone
from clapas.evaluate.load import LoadedModel, read_tokenizer
from clapas.evaluate.record import EVENT, run_of
from clapas.evaluate.seal import model_seal
from clapas.ledger.ledger import read_json_lines, read_ledger
from clapas.loader.readers import TRAIN, data_that_ran
from clapas.loader.shard_pool import ShardPool
from clapas.model.source_config import TOKENIZER
from clapas.recipe.errors import UserError
from clapas.recipe.hashes import file_hash
from clapas.recipe.recipe import read_recipe
from clapas_data.encode import open_tokenizer
from clapas_data.evaluation_sets import FEWEST
from clapas_data.manifest import Manifest, open_manifest, read_revisions
from clapas_data.text.phrases import Phrases, words_of

VERSION = 1
WORDS = 13
"""Of an n-gram (Brown et al., 2020, appendix C)."""
TOKENS_AT_ONCE = 2**20
"""Of training text that is decoded together: about 5 MB."""


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a task as it was recorded. texts: the strings of its row."""

    task: str
    doc_id: int
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sought:
    """The n-grams of items. phrases: the distinct ones. of_phrase, of_item: pairs of a phrase's number and of an item's
    that has it, by phrase; bounds: where each phrase's begin."""

    phrases: Phrases
    of_phrase: np.ndarray
    of_item: np.ndarray
    bounds: np.ndarray


@dataclass(frozen=True, slots=True)
class Found:
    """What stands in some text. phrases: bool, of each phrase. documents: of each item, in how many documents any of
    its n-grams stands. first: of each item, the first of these as (shard, token), where any."""

    phrases: np.ndarray
    documents: np.ndarray
    first: dict[int, tuple[int, int]]


def measure_contamination(
    loaded: LoadedModel, data: Path | None = None, *, ranks: Ranks | None = None
) -> dict[str, Any]:
    """Look for the items of the tasks recorded of a checkpoint in the training text. A collective; ranks share it.

    data: another folder of shards than the run's own, such as that of a run that it branched from.
    Returns `tasks`: name -> items, looked_for, overlapping; `text`: what was read; `built`: what the build of these
    data removed for evaluations' sake; `items`: each one's n-grams, how many of them were found, in how many documents,
    and where first. Raises UserError where no tasks are recorded, or there is no training text.
    """
    ranks = ranks or alone()
    try:
        run_of(loaded.source)
    except UserError:
        wanted = "a run, or one of its checkpoints: the tasks recorded of it are looked for in the data that it read"
        raise UserError("contamination is looked for of a run", where=loaded.source, wanted=wanted) from None
    measured, items = recorded_items(loaded.source)
    manifest, revisions = _manifest(loaded, data)
    sought = _sought(items)
    found = _look(sought, len(items), manifest, _tokenizer(loaded, manifest), ranks)
    rows = _rows(items, sought, found, manifest)
    places = manifest.of_split(TRAIN)
    return {
        "version": VERSION,
        "method": {"words": WORDS, "fewest_words": FEWEST, "texts": "strings of an item's row", "case": "lower"},
        "measured": measured,
        "data": str(manifest.folder),
        "manifests": revisions,
        "text": {
            "split": TRAIN,
            "documents": sum(manifest.shards[place].documents for place in places),
            "tokens": sum(manifest.shards[place].tokens for place in places),
        },
        "built": [_step(step) for step in manifest.steps if step.name.startswith("decontaminate")],
        "tasks": {task: _figures(own) for task, own in rows.items()},
        "items": rows,
    }


def recorded_items(source: Path) -> tuple[list[dict[str, str]], list[Item]]:
    """The measurements by tasks recorded of a checkpoint, and their items; of a task measured again, the last.

    Raises UserError where there are none, a file is not what the ledger says, or items were kept without their text.
    """
    run, seal = run_of(source), model_seal(source)
    last: dict[str, tuple[dict[str, str], dict[int, Item]]] = {}
    for event in read_ledger(run):
        if event["event"] != EVENT or event["kind"] != "tasks" or event["seal"] != seal:
            continue
        path = (run / event["file"]).with_suffix(".items.jsonl")
        if not path.is_file() or file_hash(path) != event["items_sha256"]:
            raise UserError("recorded answers are missing or were altered", where=path, way_out=_AGAIN)
        record = {"file": Path(event["file"]).name, "items_sha256": event["items_sha256"]}
        own: dict[str, dict[int, Item]] = {}
        for row in read_json_lines(path):
            texts = tuple(_strings(row.get("doc")))
            own.setdefault(row["of"], {})[row["doc_id"]] = Item(row["of"], row["doc_id"], texts)
        last |= {task: (record, items) for task, items in own.items()}
    if not last:
        raise UserError("no tasks are recorded of this checkpoint", where=source, way_out=_AGAIN)
    found = [item for _, own in last.values() for item in own.values()]
    if bare := sorted({item.task for item in found if not item.texts}):
        what = "these tasks' answers were kept without their items' text"
        raise UserError(what, where=run, found=", ".join(bare), way_out=_AGAIN)
    return list({record["file"]: record for record, _ in last.values()}.values()), found


_AGAIN = "`clapas eval RUN --tasks NAMES --record`"


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _manifest(loaded: LoadedModel, data: Path | None) -> tuple[Manifest, list[str]]:
    """The shards, and the hashes of the revisions that are looked through: of its own data that which the run read; of
    a folder that is named the first, which holds what any later one does."""
    if data is not None:
        revisions = sorted(read_revisions(open_manifest(data)), key=lambda manifest: manifest.revision)
        return revisions[0], [manifest.hash for manifest in revisions]
    if loaded.data is None:
        way_out = "name the folder of the shards: --data FOLDER"
        raise UserError("the data that this model trained on are not at hand", where=loaded.source, way_out=way_out)
    run = run_of(loaded.source)
    manifest = data_that_ran(run, read_recipe(run / "recipe.yaml"), open_manifest(loaded.data))
    return manifest, [manifest.hash]


def _tokenizer(loaded: LoadedModel, manifest: Manifest) -> Tokenizer:
    """The one that made the shards: beside them, or the model's, where it is that."""
    for folder in (manifest.folder / TOKENIZER, loaded.tokenizer_folder):
        if (folder / "tokenizer.json").is_file() and manifest.tokenizer in (None, open_tokenizer(folder).record):
            return read_tokenizer(folder)
    raise UserError("the tokenizer that made these shards is not at hand", where=manifest.folder / TOKENIZER)


def _sought(items: Sequence[Item]) -> Sought:
    texts = [text for item in items for text in item.texts]
    of_text = np.repeat(np.arange(len(items)), [len(item.texts) for item in items])
    words = words_of(texts)
    sizes: list[int] = []
    hashes: list[np.ndarray] = []
    beginnings: list[np.ndarray] = []
    pairs: list[np.ndarray] = [np.zeros((2, 0), np.int64)]
    known = 0
    for size in range(FEWEST, WORDS + 1):
        if size == WORDS:
            grams, firsts = words.ngrams(size)
        else:
            firsts = words.bounds[:-1][words.counts == size]
            grams = words.ngrams_at(size, firsts)[0]
        if not len(grams):
            continue
        distinct, places, numbers = np.unique(grams, return_index=True, return_inverse=True)
        owners = of_text[np.searchsorted(words.bounds, firsts, side="right") - 1]
        pairs.append(np.unique(np.stack([numbers + known, owners]), axis=1))
        sizes.append(size)
        hashes.append(distinct)
        beginnings.append(words.ngrams_at(FEWEST, firsts[places])[0])
        known += len(distinct)
    if not sizes:
        raise UserError("no item has a text that is long enough to be looked for", wanted=f"{FEWEST} words or more")
    of_phrase, of_item = np.concatenate(pairs, axis=1)
    phrases = Phrases.build(FEWEST, sizes, hashes, beginnings, np.arange(known))
    return Sought(phrases, of_phrase, of_item, np.searchsorted(of_phrase, np.arange(known + 1)))


def _look(sought: Sought, items: int, manifest: Manifest, tokenizer: Tokenizer, ranks: Ranks) -> Found:
    """In all training text: this rank in its share, then all together."""
    known = len(sought.bounds) - 1
    found = Found(np.zeros(known, bool), np.zeros(items, np.int64), {})
    for number, (shard, starts, documents) in enumerate(_documents(manifest)):
        if number % ranks.size == ranks.rank:
            texts = tokenizer.decode_batch([tokens.tolist() for tokens in documents()], skip_special_tokens=True)
            _look_in(texts, shard, starts, sought, found)
    if ranks.size == 1:
        return found
    counts = ranks.sum_all([*map(float, found.phrases), *map(float, found.documents)])
    places: dict[int, tuple[int, int]] = {}
    for text in ranks.gather_texts(orjson.dumps([[item, *place] for item, place in found.first.items()]).decode()):
        for item, *place in orjson.loads(text):
            places[item] = min(places.get(item, (2**63, 0)), (place[0], place[1]))
    return Found(np.array(counts[:known]) > 0, np.array(counts[known:]).astype(np.int64), places)


def _documents(manifest: Manifest) -> Iterator[tuple[int, np.ndarray, Any]]:
    """(shard, first token of each document, what reads them) of some documents at a time, without those removed."""
    pool = ShardPool(manifest)
    for place in manifest.of_split(TRAIN):
        entry, shard = manifest.shards[place], pool[place]
        holes = manifest.holes.get(entry.path)
        start = 0
        while start < entry.tokens:
            last = shard.document_at(min(start + TOKENS_AT_ONCE, entry.tokens) - 1)
            stop = shard.document_start(last + 1)
            starts = np.concatenate([[start], shard.document_starts(start + 1, stop)]).astype(np.int64)
            ends = np.append(starts[1:], stop)
            if holes is not None:
                there = [any(holes.rest(a, b)) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
                starts, ends = starts[there], ends[there]

            def read(shard: Any = shard, starts: np.ndarray = starts, ends: np.ndarray = ends) -> list[np.ndarray]:
                return [shard.read(a, b) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]

            yield place, starts, read
            start = stop


def _look_in(texts: Iterable[str], shard: int, starts: np.ndarray, sought: Sought, found: Found) -> None:
    """Mark in `found` what stands in some documents of a shard."""
    words = words_of(texts)
    firsts, _, numbers = sought.phrases.find(words)
    if not len(firsts):
        return
    found.phrases[numbers] = True
    documents = np.searchsorted(words.bounds, firsts, side="right") - 1
    each = sought.bounds[numbers + 1] - sought.bounds[numbers]
    owners = np.concatenate([sought.of_item[sought.bounds[n] : sought.bounds[n + 1]] for n in numbers.tolist()])
    pairs = np.unique(np.stack([owners, np.repeat(documents, each)]), axis=1)
    np.add.at(found.documents, pairs[0], 1)
    for item, document in pairs[:, ::-1].T.tolist():
        place = (shard, int(starts[document]))
        found.first[item] = min(found.first.get(item, place), place)


def _rows(items: Sequence[Item], sought: Sought, found: Found, manifest: Manifest) -> dict[str, list[dict[str, Any]]]:
    """Each item, by its task."""
    grams = np.bincount(sought.of_item, minlength=len(items))
    hits = np.bincount(sought.of_item[found.phrases[sought.of_phrase]], minlength=len(items))
    rows: dict[str, list[dict[str, Any]]] = {}
    for number, item in enumerate(items):
        row = {"doc_id": item.doc_id, "ngrams": int(grams[number]), "found": int(hits[number])}
        if row["found"]:
            shard, token = found.first[number]
            first = {"shard": manifest.shards[shard].path, "token": token}
            row |= {"documents": int(found.documents[number]), "first": first}
        rows.setdefault(item.task, []).append(row)
    return rows


def _figures(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """looked_for: items with a text that is long enough; overlapping: of these, those with an n-gram in the text."""
    return {
        "items": len(rows),
        "looked_for": sum(row["ngrams"] > 0 for row in rows),
        "overlapping": sum(row["found"] > 0 for row in rows),
    }


def _step(step: Any) -> dict[str, Any]:
    names = ("name", "documents_in", "documents_out", "counts", "options")
    return {name: getattr(step, name) for name in names}


def contamination_table(measured: dict[str, Any]) -> str:
    """The figures, for reading."""
    text = measured["text"]
    lines = [f"{text['documents']:,} documents of {measured['data']} ({text['split']}), n-grams of {WORDS} words:"]
    for name, own in measured["tasks"].items():
        short = own["items"] - own["looked_for"]
        beside = f", {short:,} too short to be looked for" if short else ""
        lines.append(f"  {name}: {own['overlapping']:,} of {own['looked_for']:,} items overlap{beside}")
    lines += [
        f"  removed by the build, {step['name']}: {step['documents_in'] - step['documents_out']:,} documents"
        for step in measured["built"]
    ]
    return "\n".join(lines)
