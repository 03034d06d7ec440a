"""Documents whose owners said no: by domain, by URL, by id, and where text and data mining is reserved.

Article L. 122-5-3 of the French Code de la propriété intellectuelle, after article 4 of directive (EU) 2019/790, lets
anyone mine what is lawfully read unless its author objects by suitable means, machine-readable ones for what is online:
`robots.txt` (RFC 9309), or TDMRep of the W3C's community group (`/.well-known/tdmrep.json`, a header or a meta element
`tdm-reservation: 1`). Nothing is fetched here: the step reads a snapshot of such reservations that the team made.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import model_validator

from clapas_data.listed import Paths, absolute, content_of, matching, signature
from clapas_data.opt_out import Rules, read_domains, read_ids, read_reservations, read_urls
from clapas_data.steps.step import Outcome, Step
from clapas_data.text.batch import TextBatch
from clapas_data.web import domains_of, split_url

LISTS = ("domains", "urls", "ids", "reservations")


class OptOut(Step):
    """Drop the documents of those who opted out. Each option is one file or several.

    domains: a domain a line; all below it is out too. urls: how a URL begins, a line each; the host is that one alone,
    with or without `www.`. ids: a document's id a line. reservations: JSONL, `domain`, `source`, `date` a line, and
    `path` and `tdm-reservation` where a part of a domain is reserved or free. A document without a URL can only be
    found by its id: `without_url` counts those.
    """

    edits: ClassVar[bool] = True  # it counts

    step: Literal["opt_out"] = "opt_out"
    domains: Paths | None = None
    urls: Paths | None = None
    ids: Paths | None = None
    reservations: Paths | None = None

    @model_validator(mode="after")
    def _some_list_is_given(self) -> OptOut:
        if not any(getattr(self, name) for name in LISTS):
            raise ValueError(f"found no list; wanted files for one or more of {', '.join(LISTS)}")
        return self

    def __call__(self, batch: TextBatch) -> Outcome:
        """`id`, `domain`, `url`, `tdm_reservation`: the first that holds."""
        lists = self._lists()
        rejected = {reason: np.zeros(len(batch), bool) for reason in ("id", "domain", "url", "tdm_reservation")}
        without = 0
        for place, (identifier, url) in enumerate(zip(batch.ids, batch.urls, strict=True)):
            rejected["id"][place] = identifier in lists.ids
            host, path = split_url(url) if url else ("", "")
            if not host:
                without += 1
                continue
            rejected["domain"][place] = not lists.domains.isdisjoint(domains_of(host))
            rejected["url"][place] = path.startswith(lists.urls.get(host, ()))
            rejected["tdm_reservation"][place] = lists.reservations.say_no(host, path)
        return Outcome(rejected=rejected, counts={"without_url": without})

    def under(self, base: Path) -> OptOut:
        """With the lists' paths made absolute."""
        given = {name: paths for name in LISTS if (paths := getattr(self, name))}
        return self.model_copy(
            update={name: tuple(absolute(base, path) for path in paths) for name, paths in given.items()}
        )

    def identity(self) -> dict[str, Any]:
        """The content of the lists, wherever they lie."""
        return {**super().identity(), **{name: content_of(self._files(name)) for name in LISTS}}

    def _files(self, name: str) -> tuple[Path, ...]:
        return tuple(matching(getattr(self, name) or (), f"step opt_out: {name}"))

    def _lists(self) -> Lists:
        files = tuple(map(self._files, LISTS))
        return _read(files, tuple(signature(path) for own in files for path in own))


@dataclass(frozen=True, slots=True)
class Lists:
    """All lists of a step, as they are asked."""

    domains: frozenset[str]
    urls: dict[str, tuple[str, ...]]
    ids: frozenset[str]
    reservations: Rules


@lru_cache(maxsize=2)
def _read(files: tuple[tuple[Path, ...], ...], signatures: tuple[tuple[int, int], ...]) -> Lists:
    domains, urls, ids, reservations = files
    return Lists(read_domains(domains), read_urls(urls), read_ids(ids), read_reservations(reservations))
