"""`megatron:` bare `.bin`/`.idx` shards, turned back into text by the tokenizer that made them.

So foreign shards can be cleaned, deduplicated and encoded anew. What is lost stays lost: special tokens are left out,
and a tokenizer that normalises gives its normal form. Of a corpus of ours, documents that were removed are not read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

from clapas.recipe.errors import UserError
from clapas_data.bare_shards import bare_record
from clapas_data.corpus import Source
from clapas_data.manifest import masked_corpus
from clapas_data.removed import Holes
from clapas_data.shards import ShardRecord, TokenShard
from clapas_data.sources.part import PART_BYTES, Part, RawDocument, id_start

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def files(name: str, source: Source) -> list[str]:
    """The shards' files, the masks of what was removed of them, and the tokenizer's. Raises UserError where one is
    missing."""
    prefixes = _prefixes(name, source)
    corpora = [masked_corpus(folder) for folder in dict.fromkeys(Path(prefix).parent for prefix in prefixes)]
    masks = dict.fromkeys(str(corpus.folder / corpus.removed.file) for corpus in corpora if corpus and corpus.removed)
    return [*(f"{prefix}{ending}" for prefix in prefixes for ending in (".bin", ".idx")), *masks, _json(source)]


def parts(name: str, source: Source) -> list[Part]:
    """Ranges of documents of about a part's size. Raises UserError where a shard is cut short."""
    found: list[Part] = []
    prefixes = _prefixes(name, source)
    base = os.path.commonpath([os.path.dirname(prefix) for prefix in prefixes])  # noqa: PTH120 - glob's words
    for prefix in prefixes:
        record = _record(prefix)
        step = max(1, record.documents * PART_BYTES // max(1, record.bin_bytes))
        paths = (f"{prefix}.bin", f"{prefix}.idx")
        starts = range(0, record.documents, step)
        found += [Part(source, paths, start, min(start + step, record.documents), base) for start in starts]
    return found


def read(part: Part) -> Iterator[RawDocument]:
    """The documents of a range, decoded."""
    prefix = part.paths[0].removesuffix(".bin")
    record, tokenizer = _record(prefix), _tokenizer(_json(part.source))
    shard = TokenShard(Path(prefix).parent, record)
    vocabulary, size, holes = tokenizer.get_vocab_size(), shard.dtype.itemsize, _holes(prefix)
    for document in range(part.start, part.stop):
        start, stop = shard.document_start(document), shard.document_start(document + 1)
        if holes is not None and start < stop and not any(holes.rest(start, stop)):
            continue
        tokens = shard.read(start, stop)
        if len(tokens) and not 0 <= int(tokens.min()) <= int(tokens.max()) < vocabulary:
            raise UserError(
                "a token that the tokenizer does not have",
                where=f"{part.paths[0]}, document {document}",
                found=str(int(tokens.max())),
                wanted=f"ids below {vocabulary}, of {_json(part.source)}",
                way_out="set `tokenizer:` of the source to the folder of the one that made these shards",
            )
        text = tokenizer.decode(tokens.tolist(), skip_special_tokens=True)
        name = id_start(part).removesuffix(".bin")
        yield RawDocument(f"{name}#{document}", prefix, text, len(tokens) * size, "", document)


def _prefixes(name: str, source: Source) -> list[str]:
    pattern = source.megatron or ""
    if Path(f"{pattern}.idx").is_file():  # its name may hold brackets
        found = [pattern]
    else:
        found = sorted(path.removesuffix(".idx") for path in glob(f"{pattern}.idx"))  # noqa: PTH207 - absolute
    if not found:
        wanted = "the path of NAME.idx and NAME.bin without its ending"
        raise UserError(f"source {name}: no such shards", where=f"{pattern}.idx", wanted=wanted)
    for prefix in found:
        if not Path(f"{prefix}.bin").is_file():
            raise UserError(f"source {name}: no .bin beside its .idx", where=f"{prefix}.bin")
    return found


def _json(source: Source) -> str:
    path = (source.tokenizer or Path()) / "tokenizer.json"
    if not path.is_file():
        raise UserError("no tokenizer here", where=path, wanted="a folder with tokenizer.json")
    return str(path)


def _record(prefix: str) -> ShardRecord:
    path = Path(f"{prefix}.idx")
    return bare_record(path.parent, path)[1]


def _holes(prefix: str) -> Holes | None:
    """What was removed of a shard, where it is of a corpus of ours."""
    corpus = masked_corpus(Path(prefix).parent)
    if corpus is None:
        return None
    return corpus.holes.get(Path(prefix).resolve().relative_to(corpus.folder).as_posix())


@lru_cache(maxsize=2)
def _tokenizer(path: str) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(path)
    except Exception as error:  # tokenizers raises bare Exception
        raise UserError(f"not a tokenizer: {error}", where=path) from None
