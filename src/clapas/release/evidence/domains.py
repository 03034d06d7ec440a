"""Which internet domains the texts of crawled sources come from: the largest tenth of them, by bytes of text.

The Commission's template asks it (2.3) of whoever crawled. A domain is a host as `clapas_data.web` writes it, without
`www.`; `documents.parquet` is read once, a row group at a time, and only counts are held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pyarrow.dataset as ds

from clapas.release.evidence.evidence import Domains
from clapas_data.documents import DOCUMENTS
from clapas_data.web import split_url

COLUMNS = ["source", "url", "bytes"]
TENTH = 10
"""The template's share of all domains: one in ten, rounded up."""


def domains_of(data: Path, sources: Collection[str]) -> dict[str, Domains]:
    """The domains of the training documents of these sources, by source. data: the folder of the manifest.

    A source has no entry where its documents have no address, or the build kept no table of documents.
    """
    path = data / DOCUMENTS
    if not sources or not path.is_file():
        return {}
    table = ds.dataset(path)
    if "url" not in table.schema.names:
        return {}
    wanted = (ds.field("split") == "train") & ds.field("source").isin(sorted(sources))
    sizes: dict[str, Counter[str]] = {source: Counter() for source in sources}
    for batch in table.to_batches(columns=COLUMNS, filter=wanted):
        for row in batch.to_pylist():
            if host := split_url(row["url"] or "")[0]:
                sizes[row["source"]][host] += row["bytes"]
    return {source: _largest(found) for source, found in sizes.items() if found}


def _largest(sizes: Counter[str]) -> Domains:
    """A tenth of the domains; of as large ones, those first that come first in the alphabet."""
    ordered = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    return Domains(hosts=len(sizes), text_bytes=sizes.total(), top=tuple(ordered[: -(-len(ordered) // TENTH)]))
