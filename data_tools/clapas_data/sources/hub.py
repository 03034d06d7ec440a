"""`datasets:` a data set of the Hugging Face Hub, or a local folder, as the `datasets` package loads it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source
from clapas_data.sources.part import PART_BYTES, Part, RawDocument
from clapas_data.sources.rows import documents_of_rows


def files(name: str, source: Source) -> list[str]:
    """The files of a local folder; none of a data set that its revision identifies."""
    folder = Path(source.datasets or "")
    return sorted(str(path) for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def parts(name: str, source: Source) -> list[Part]:
    """Ranges of rows of about a part's size."""
    rows = _load_dataset(source)
    step = max(1, int(len(rows) * PART_BYTES / max(1, rows.data.nbytes)))
    return [Part(source, (), start, min(start + step, len(rows))) for start in range(0, len(rows), step)]


def read(part: Part) -> Iterator[RawDocument]:
    """The documents of a part's rows."""
    name = part.source.datasets or ""
    rows = _load_dataset(part.source).select(range(part.start, part.stop))
    yield from documents_of_rows(part.source, rows, name, part.start, Path(name).name)


def _load_dataset(source: Source) -> Any:
    """A data set as `datasets` holds it: memory-mapped Arrow. Raises UserError where it cannot be had."""
    try:
        return _load_split(source.datasets or "", source.subset, source.split, source.revision)
    except ImportError:
        way_out = "pip install 'clapas[datasets]'"
        raise UserError("this corpus reads a data set, and `datasets` is not installed", way_out=way_out) from None
    except Exception as error:  # `datasets` raises dozens of kinds; each is the user's to read
        raise UserError(
            f"could not load {source.origin}, split {source.split!r}: {str(error).strip().splitlines()[0]}",
            way_out="check the name and the network; offline, load it once where there is one and copy HF_HOME",
        ) from None


@lru_cache(maxsize=1)
def _load_split(name: str, subset: str | None, split: str, revision: str | None) -> Any:
    import datasets

    datasets.disable_progress_bars()
    return datasets.load_dataset(name, subset, split=split, revision=revision)
