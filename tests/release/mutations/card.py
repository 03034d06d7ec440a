"""Documents that say what the evidence does not: check 21."""

from __future__ import annotations

import re
from collections.abc import Callable
from shutil import copyfile

from tests.release.mutations.mutant import Case, Mutant, Values

CARD = "README.md"


def edited(name: str, pattern: str, put: str) -> Callable[[Case], None]:
    """Replaces the first passage, which must be there, that a pattern finds in a text file of the folder."""

    def edit(case: Case) -> None:
        path = case.folder / name
        text, count = re.subn(pattern, put, path.read_text(encoding="utf-8"), count=1, flags=re.M)
        assert count, f"{name} has no {pattern!r}: this mutant breaks nothing"
        path.write_text(text, encoding="utf-8")

    return edit


def more_tokens(values: Values) -> None:
    values["tokens"] *= 1000


def unmeasured(case: Case) -> None:
    path = case.folder / ".eval_results" / "mmlu.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text("- dataset: {id: cais/mmlu, task_id: default}\n  value: 0.83\n", encoding="utf-8")


def other_plot(case: Case) -> None:
    copyfile(case.folder / "images/data.png", case.folder / "images/loss.png")


def without_metadata(case: Case) -> None:
    path = case.folder / CARD
    path.write_text(path.read_text(encoding="utf-8").partition("\n---\n")[2], encoding="utf-8")


def other_domains(case: Case) -> None:
    (case.folder / "documents/crawled-domains.csv").write_text("domain,bytes\nexemple.fr,10\n", encoding="utf-8")


CLAIM = "Ce modèle convient à l'aide à la décision médicale.\n\n### Prise en main"
MUTANTS = [
    Mutant("the card says ten times the parameters", 21, edited(CARD, r"(\| Paramètres \| \d)", r"\g<1>0"), only=True),
    Mutant(
        "the card's metadata name another licence", 21, edited(CARD, r"^license: .*", "license: cc-by-4.0"), only=True
    ),
    Mutant(
        "a result in the metadata is better than measured", 21, edited(CARD, r"^( +value: )\d", r"\g<1>0"), only=True
    ),
    Mutant("the metadata tell of a result less", 21, edited(CARD, r"^ +- type: loss\n.*\n.*\n", ""), only=True),
    Mutant("the metadata say a thousandth of the CO2", 21, edited(CARD, r"^(  emissions: ).*", r"\g<1>1.0e-09")),
    Mutant(
        "a base model that the run did not begin with",
        21,
        edited(CARD, r"^(library_name)", r"base_model: a/b\n\1"),
        only=True,
    ),
    Mutant("the card's metadata do not parse", 21, edited(CARD, r"^tags:$", "tags: [clapas")),
    Mutant("the card has no metadata", 21, without_metadata, only=True),
    Mutant("the card claims a use that nobody answered", 21, edited(CARD, r"^### Prise en main", CLAIM), only=True),
    Mutant(
        "evidence.json says more tokens than the ledger",
        21,
        lambda c: c.with_json("evidence.json", more_tokens),
        only=True,
    ),
    Mutant(
        "release.yaml has another takedown contact", 21, edited("release.yaml", r"retrait@", "nulle-part@"), only=True
    ),
    Mutant("a result for the Hub that nobody measured", 21, unmeasured, only=True),
    Mutant("a list of domains of a model that read none", 21, other_domains, only=True),
    Mutant("the loss's plot is another plot", 21, other_plot, only=True),
    Mutant(
        "the citation names somebody else", 21, edited("CITATION.cff", r"(family-names: ).*", r"\1Personne"), only=True
    ),
    Mutant("the changelog forgot its version", 21, edited("CHANGELOG.md", r"^### .*", "### 0.9"), only=True),
]
