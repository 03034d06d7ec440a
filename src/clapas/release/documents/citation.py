"""How the model is cited: `CITATION.cff` (format 1.2.0) and BibTeX."""

from __future__ import annotations

import re
from typing import Any

import yaml

from clapas.release.asked.model import Author
from clapas.release.documents.facts import Facts

FILE = "CITATION.cff"
SINCE_CFF = re.compile(r"^(?:OpenMDW|LicenseRef)", re.I)
"""Licences that SPDX listed after the format's own list was made, or does not list."""


def documents(facts: Facts) -> dict[str, bytes]:
    """`CITATION.cff`."""
    return {FILE: yaml.safe_dump(citation(facts), sort_keys=False, allow_unicode=True, width=120).encode()}


def citation(facts: Facts) -> dict[str, Any]:
    """Its fields. The format knows software and data sets; a model is cited as software."""
    model = facts.answers.model
    return {
        "cff-version": "1.2.0",
        "message": f"Pour citer ce modèle / To cite this model: {model.name}",
        "type": "software",
        "title": model.name,
        "abstract": f"{model.summary.fr}\n{model.summary.en}",
        "authors": [_author(author) for author in facts.answers.authors],
        "version": model.version,
        "date-released": facts.date,
        **_licence(model.licence),
        "url": facts.answers.provider.website,
        "keywords": ["language model", *model.languages],
    }


def _author(author: Author) -> dict[str, str]:
    person = {"family-names": author.family_names, "given-names": author.given_names}
    if author.affiliation:
        person["affiliation"] = author.affiliation
    return person | ({"orcid": f"https://orcid.org/{author.orcid}"} if author.orcid else {})


def _licence(spdx: str) -> dict[str, str]:
    """Its identifier, or the page of one that the format does not know."""
    if SINCE_CFF.match(spdx):
        return {"license-url": f"https://spdx.org/licenses/{spdx}.html"}
    return {"license": spdx}


def bibtex(facts: Facts) -> str:
    """An entry of BibTeX for a model without a paper."""
    model, answers = facts.answers.model, facts.answers
    key = re.sub(r"[^a-z0-9]+", "-", model.repository.rpartition("/")[2].lower()).strip("-")
    fields = {
        "title": f"{{{_tex(model.name)}}}",
        "author": " and ".join(f"{{{_tex(a.family_names)}}}, {_tex(a.given_names)}" for a in answers.authors),
        "year": facts.date[:4],
        "version": _tex(model.version),
        "publisher": _tex(answers.provider.name),
        "url": re.sub(r"[{}\s]", "", answers.provider.website),
    }
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"@misc{{{key}-{facts.date[:4]},\n{lines}\n}}"


def _tex(text: str) -> str:
    """A text that TeX prints as it is."""
    line = re.sub(r"[\\{}`~^]", "", " ".join(text.split()))
    return re.sub(r"([&%$#_])", r"\\\1", line)
