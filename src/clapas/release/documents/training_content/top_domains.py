"""The most relevant domains of crawled sources: the largest tenth, by the size of their text.

A small or medium-sized enterprise lists the largest 5 % or 1,000, whichever is less (template, 2.3).
"""

from __future__ import annotations

import csv
import io
from math import ceil

from clapas.release.documents.training_content.sources import Source

DOMAINS = "documents/crawled-domains.csv"
SMALL_SHARE, SMALL_MOST = 0.05, 1000


def top_domains(source: Source, small: bool) -> tuple[tuple[str, int], ...]:
    """(domain, bytes of text), largest first. small: whether the provider is an SME."""
    domains = source.domains
    if domains is None:
        return ()
    return domains.top[: min(SMALL_MOST, ceil(SMALL_SHARE * domains.hosts))] if small else domains.top


def domains_file(sources: tuple[Source, ...], small: bool) -> bytes | None:
    """All of them, as CSV; None where no source was crawled."""
    crawled = [source for source in sources if source.answer.kind == "crawled"]
    if not crawled:
        return None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("source", "domain", "text_bytes"))
    writer.writerows((source.name, *row) for source in crawled for row in top_domains(source, small))
    return text.getvalue().encode()
