"""Lists of those who opted out, read and checked: a line that would match nothing, or all, is refused, not skipped.

A domain stands for all below it. The same rules serve what a robots.txt or a TDMRep file reserves: the longest domain
of the list that a host lies in decides, and in it the longest path that the URL's begins with (RFC 9309, 2.2.2).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from clapas.recipe.errors import UserError
from clapas_data.listed import lines_of
from clapas_data.web import domains_of, host_of, path_of, split_url

TDM_SOURCES = ("robots.txt", "tdmrep.json", "header", "meta", "terms", "contact")
"""Where a reservation was found: by whom or in what, as the snapshot says."""


@dataclass(slots=True)
class Rules:
    """Which URLs are out. paths: domain -> path -> whether what begins with it is out."""

    paths: dict[str, dict[str, bool]] = field(default_factory=lambda: defaultdict(dict))

    def say_no(self, host: str, path: str) -> bool:
        """Whether a URL is out."""
        for domain in domains_of(host):
            if (own := self.paths.get(domain)) is not None:
                longest = max((rule for rule in own if path.startswith(rule)), key=len, default=None)
                return longest is not None and own[longest]
        return False


def read_domains(paths: Iterable[Path]) -> frozenset[str]:
    """Lists of domains, one a line (`*.` before it is allowed). Raises UserError, with file and line, for others."""
    found: set[str] = set()
    for path in paths:
        for where, line in lines_of(path):
            name = line.strip().removeprefix("*.")
            host = host_of(name)
            if not host or "/" in name or "." not in host:
                wanted = "one domain, such as exemple.fr; it stands for all below it"
                way_out = "a URL belongs in a list of `urls`" if "/" in name else None
                raise UserError("not a domain", where=where, found=repr(line), wanted=wanted, way_out=way_out)
            found.add(host)
    return frozenset(found)


def read_urls(paths: Iterable[Path]) -> dict[str, tuple[str, ...]]:
    """Lists of beginnings of URLs, one a line: host -> beginnings of paths. Raises UserError for what is none."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        for where, line in lines_of(path):
            host, rest = split_url(line.strip())
            if not host or "." not in host or any(map(str.isspace, line.strip())):
                wanted = "how a URL begins, such as https://exemple.fr/forum/"
                raise UserError("not the beginning of a URL", where=where, found=repr(line), wanted=wanted)
            found[host].add(rest)
    return {host: tuple(sorted(rests)) for host, rests in found.items()}


def read_ids(paths: Iterable[Path]) -> frozenset[str]:
    """Lists of documents' ids, one a line, exactly as the corpus has them: about 100 bytes of memory each."""
    return frozenset(line for path in paths for _, line in lines_of(path))


def read_reservations(paths: Iterable[Path]) -> Rules:
    """A snapshot of reservations: JSONL, one a line. Raises UserError, with file and line, for what is none.

    `domain`, `source` (one of `TDM_SOURCES`), `date` (ISO 8601); and, where it is not the whole domain, `path`, which
    the URL's begins with, and `tdm-reservation`, 1 (the default) or 0 for a part that is free again.
    """
    rules = Rules()
    for path in paths:
        for where, line in lines_of(path):
            row = _row(where, line)
            host = host_of(str(row["domain"]))
            rules.paths[host][path_of(str(row.get("path", "/")))] = row.get("tdm-reservation", 1) == 1
    return rules


def _row(where: str, line: str) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UserError(f"not JSON: {error.msg}", where=where, found=repr(line[:60])) from None
    keys = {"domain", "source", "date", "path", "tdm-reservation"}
    example = '{"domain": "exemple.fr", "source": "tdmrep.json", "date": "2026-11-27"}'
    if not isinstance(row, dict) or not {"domain", "source", "date"} <= set(row) or set(row) - keys:
        found = f"the keys {', '.join(map(str, row))}" if isinstance(row, dict) else repr(line[:60])
        wanted = f"{example}, and `path` and `tdm-reservation` where they are needed"
        raise UserError("not a reservation", where=where, found=found, wanted=wanted)
    host = host_of(str(row["domain"]))
    wrong = {
        "domain": not host or "." not in host,
        "source": row["source"] not in TDM_SOURCES,
        "date": not _is_date(row["date"]),
        "path": not str(row.get("path", "/")).startswith("/") or "*" in str(row.get("path", "")),
        "tdm-reservation": row.get("tdm-reservation", 1) not in (0, 1),
    }
    for key in (key for key, is_wrong in wrong.items() if is_wrong):
        wanted = {
            "domain": "a domain, such as exemple.fr",
            "source": " or ".join(TDM_SOURCES),
            "date": "the day on which it was read, such as 2026-11-27",
            "path": "how the path begins, such as /articles/; patterns with * are not read",
            "tdm-reservation": "1 (reserved) or 0 (free)",
        }[key]
        raise UserError(f"{key}: not what a reservation has", where=where, found=repr(row[key]), wanted=wanted)
    return row


def _is_date(value: Any) -> bool:
    try:
        date.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return True
