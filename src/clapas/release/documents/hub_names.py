"""How the Hub calls what a card names: licences, models and data sets (hub-docs, `repositories-licenses`, 2026)."""

from __future__ import annotations

import re

LICENCES = (
    "afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc-by-2.0 "
    "cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0 "
    "cdla-sharing-1.0 ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 gpl-2.0 gpl-3.0 isc lgpl-2.1 lgpl-3.0 "
    "lgpl-lr lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openmdw-1.0 osl-3.0 pddl postgresql unlicense wtfpl "
    "zlib"
)
"""Open licences that the Hub has a name for, between spaces."""
FAMILIES = {"odbl-1.0": "odbl", "odc-by-1.0": "odc-by", "pddl-1.0": "pddl", "lgpllr": "lgpl-lr"}
"""SPDX's identifier, lower-cased -> the Hub's name, where they differ by more than GNU's `-only` and `-or-later`."""
MODEL = re.compile(r"^https?://(?:www\.)?(?:huggingface\.co|hf\.co)/(?!datasets/|spaces/)([\w.-]+/[\w.-]+?)/?$")
DATASET = re.compile(r"^https?://(?:www\.)?(?:huggingface\.co|hf\.co)/datasets/([\w.-]+/[\w.-]+?)/?$")

STREAMED = re.compile(r"^datasets ([A-Za-z0-9][\w.-]*/[\w.-]+)(?:/[\w.-]+)?$")
"""The origin of a source of kind `datasets`, a subset behind it."""


def hub_licence(spdx: str) -> dict[str, str]:
    """The metadata's keys for a licence: `license`, and for one that the Hub does not know its name and its text."""
    name = re.sub(r"-(?:only|or-later)$", "", spdx.lower())
    name = FAMILIES.get(name, name)
    if name in LICENCES.split():
        return {"license": name}
    return {"license": "other", "license_name": spdx.lower(), "license_link": "LICENSE"}


def hub_model(url: str) -> str | None:
    """OWNER/NAME of a model's page on the Hub; None for any other page."""
    found = MODEL.match(url.strip())
    return found[1] if found else None


def hub_dataset(url: str | None, origin: str | None) -> str | None:
    """OWNER/NAME of a data set on the Hub, by its page or by where its rows came from; None for any other."""
    found = DATASET.match((url or "").strip()) or STREAMED.match(origin or "")
    return found[1] if found else None
