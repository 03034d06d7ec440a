"""`datasets:` a data set of the Hugging Face Hub, or a local folder, as the `datasets` package loads it.

With `streaming: true` nothing is downloaded beforehand: each of its data files (a shard, as `datasets` calls it) is a
part, read over the network as it comes, and read again alone where a build was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source
from clapas_data.sources.part import PART_BYTES, Part, RawDocument
from clapas_data.sources.rows import check_fields, documents_of_rows


def files(name: str, source: Source) -> list[str]:
    """The files of a local folder; none of a data set that its revision identifies."""
    folder = Path(source.datasets or "")
    return sorted(str(path) for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def parts(name: str, source: Source) -> list[Part]:
    """Its data files one by one where it streams; else ranges of rows of about a part's size."""
    _load_split.cache_clear()  # a local folder may hold other files than when this process read it last
    data = _load(source)
    if data.column_names is not None:
        check_fields(source, data.column_names, source.origin, "column")
    if source.streaming:
        return [Part(source, (), shard, shard + 1) for shard in range(data.num_shards)]
    step = max(1, int(len(data) * PART_BYTES / max(1, data.data.nbytes)))
    return [Part(source, (), start, min(start + step, len(data))) for start in range(0, len(data), step)]


def read(part: Part) -> Iterator[RawDocument]:
    """The documents of a part's rows; a streamed one's are counted within its data file."""
    source, data = part.source, _load(part.source)
    name = source.datasets or ""
    if source.streaming:
        file = f"{name}/{source.split}-{part.start:05}"
        rows = _said(source, lambda: iter(data.shard(num_shards=data.num_shards, index=part.start)))
        yield from documents_of_rows(source, rows, file, 0, f"{Path(name).name}/{source.split}-{part.start:05}")
    else:
        yield from documents_of_rows(
            source, data.select(range(part.start, part.stop)), name, part.start, Path(name).name
        )


def _load(source: Source) -> Any:
    """A data set: memory-mapped Arrow, or a stream. Raises UserError where it cannot be had."""
    try:
        name, revision = source.datasets or "", source.revision
        return _load_split(name, source.subset, source.split, revision, source.streaming, source.pattern)
    except ImportError:
        way_out = "pip install 'clapas[datasets]'"
        raise UserError("this corpus reads a data set, and `datasets` is not installed", way_out=way_out) from None
    except Exception as error:  # `datasets` raises dozens of kinds; each is the user's to read
        raise _no_data(source, error) from None


def _said(source: Source, rows: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Streamed rows; what goes wrong on the way is said as for loading."""
    try:
        yield from rows()
    except Exception as error:
        raise _no_data(source, error) from None


def _no_data(source: Source, error: Exception) -> UserError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return UserError(
        f"could not load {source.origin}, split {source.split!r}: {reason}",
        way_out="check the name and the network; offline, load it once where there is one and copy HF_HOME",
    )


@lru_cache(maxsize=1)
def _load_split(
    name: str, subset: str | None, split: str, revision: str | None, streaming: bool, pattern: str | None
) -> Any:
    import datasets

    datasets.disable_progress_bars()
    return datasets.load_dataset(name, subset, split=split, revision=revision, streaming=streaming, data_files=pattern)
