"""What licences of texts and of base models say about the licence of weights that come from them: one table.

A base model's weights live on in the new ones: its terms bind. Whether weights are an adaptation of a text that they
learned from, no court has settled; so what the terms of a text rest on that question is decided by people, in
`release.yaml`, and printed, and never by this table. Read with docs/licences.md. Not legal advice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from clapas.release.licences.texts import WEIGHTS
from clapas_data.licences import fold, licence_flags

Outcome = Literal["agrees", "to be decided", "refused"]
_ORDER: tuple[Outcome, ...] = ("agrees", "to be decided", "refused")
ALL = frozenset(WEIGHTS)
_NAMED = ALL - {"CC0-1.0"}
"""Those that keep the notices of what a work is made from: CC0 tells users that nothing is due."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Licences that ask the same. licences: SPDX identifiers, with spaces between.

    weights: the licences of weights that agree with them. why: what they ask. text_may_be_decided: whether people may
    decide, for a text under them, that other licences agree as well.
    """

    name: str
    licences: str
    weights: frozenset[str]
    why: str
    text_may_be_decided: bool = False


TERMS = (
    Terms(
        "nothing asked",
        "CC0-1.0 PDDL-1.0 CC-PDM-1.0 CC-PDDC LicenseRef-public-domain Unlicense 0BSD MIT-0 "
        "CDLA-Permissive-1.0 CDLA-Permissive-2.0 CDLA-Sharing-1.0",
        ALL,
        "asks nothing of what is learned from it (the CDLA says so of models by name)",
    ),
    Terms(
        "attribution",
        "etalab-2.0 CC-BY-2.0 CC-BY-2.5 CC-BY-3.0 CC-BY-3.0-IGO CC-BY-4.0 ODC-By-1.0 OGL-UK-3.0 NLOD-2.0 "
        "DL-DE-BY-2.0 Apache-2.0 MIT BSD-2-Clause BSD-3-Clause ISC BSL-1.0 OpenMDW-1.0 PSF-2.0",
        _NAMED,
        "asks that its authors be named; CC0 would tell users that nothing is due",
    ),
    Terms(
        "share-alike",
        "CC-BY-SA-2.0 CC-BY-SA-2.5 CC-BY-SA-3.0 CC-BY-SA-3.0-IGO CC-BY-SA-4.0",
        frozenset({"CC-BY-SA-4.0"}),
        "asks that adaptations be shared under the same licence",
        text_may_be_decided=True,
    ),
    Terms(
        "share-alike of data bases",
        "ODbL-1.0",
        frozenset(),
        "asks that data bases derived from it stay under it, and a notice of works produced from it",
        text_may_be_decided=True,
    ),
    Terms(
        "copyleft of the European Union",
        "EUPL-1.1 EUPL-1.2",
        frozenset({"EUPL-1.2"}),
        "asks that derivative works be shared under it",
        text_may_be_decided=True,
    ),
    Terms(
        "copyleft",
        "GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only "
        "LGPL-3.0-or-later AGPL-3.0-only AGPL-3.0-or-later GFDL-1.2-only GFDL-1.2-or-later GFDL-1.3-only "
        "GFDL-1.3-or-later MPL-2.0 CECILL-2.1 CECILL-C EPL-2.0 LPPL-1.3c",
        frozenset(),
        "asks that derivative works be shared under it, which is no licence of weights here",
        text_may_be_decided=True,
    ),
)
"""The licences that are judged; any other is for people to decide."""
UNRECOGNISED = Terms("not judged here", "", frozenset(), "has terms that are not judged here", text_may_be_decided=True)
_BY_NAME = {licence.lower(): terms for terms in TERMS for licence in terms.licences.split()}
_SHARE_ALIKE = next(terms for terms in TERMS if terms.name == "share-alike")
KNOWN = frozenset(licence for terms in TERMS for licence in terms.licences.split())


@dataclass(frozen=True, slots=True)
class Agreement:
    """Whether weights under a licence agree with one of what they come from. why: what the terms are that decide."""

    outcome: Outcome
    why: str


def agreement(weights: str, licence: str, of: Literal["text", "base"], caveats: Iterable[str] = ()) -> Agreement:
    """Whether weights under `weights` may come from what is under `licence`, an SPDX expression.

    Of `A OR B` the better counts, for one may choose; of `A AND B` the worse. caveats: of a source of texts.
    """
    if flags := licence_flags(licence, caveats := tuple(caveats)):
        return Agreement("refused", f"{licence} is no licence for open weights: {', '.join(flags)}")
    found = fold(licence, lambda one: _of_one(weights, one, of), either=_best, both=_worst)
    if "share-alike" in caveats and of == "text":
        found = _worst([found, _judged(weights, "some of its texts", _SHARE_ALIKE, of)])
    return found


def _of_one(weights: str, licence: str, of: Literal["text", "base"]) -> Agreement:
    return _judged(weights, licence, _BY_NAME.get(licence.lower(), UNRECOGNISED), of)


def _judged(weights: str, named: str, terms: Terms, of: Literal["text", "base"]) -> Agreement:
    why = f"{named} {terms.why}"
    if weights in terms.weights:
        return Agreement("agrees", why)
    return Agreement("to be decided" if of == "text" and terms.text_may_be_decided else "refused", why)


def _best(ways: list[Agreement]) -> Agreement:
    return min(ways, key=lambda way: _ORDER.index(way.outcome))


def _worst(parts: list[Agreement]) -> Agreement:
    """The worst outcome, with the reasons of all parts that have it."""
    worst = max(parts, key=lambda part: _ORDER.index(part.outcome))
    reasons = dict.fromkeys(part.why for part in parts if part.outcome == worst.outcome)
    return Agreement(worst.outcome, "; ".join(reasons))
