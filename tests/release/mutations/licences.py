"""Licences that are none, are not open, are not shipped, or do not agree; and people who are not named."""

from __future__ import annotations

from typing import Any

from tests.release.mutations.mutant import Case, Mutant, Values

from clapas.release.licences.texts import FOLDER

BASE: Values = {
    "folder": "base",
    "of": "test",
    "role": "weights",
    "kind": "huggingface",
    "seal": "a" * 64,
    "declared_licence": None,
    "run": None,
}
FIRST: Values = {
    "name": "Base",
    "revision": "main",
    "url": "https://base.example",
    "licence": "Apache-2.0",
    "attribution": "Les auteurs de Base",
    "summary": None,
    "training_flops": 1e15,
}
SET: Values = {
    "name": "Questions",
    "url": "https://questions.example",
    "licence": "CC-BY-4.0",
    "attribution": "Des chercheurs",
}


def _source(licence: str, **more: Any) -> Any:
    def change(values: Values) -> None:
        values["data"][0]["sources"][0].update(licence=licence, **more)

    return lambda case: case.with_evidence(change)


def _weights(licence: str) -> Any:
    return lambda case: case.with_answers(lambda values: values["model"].update(licence=licence))


def _base(declared: str | None, licence: str | None) -> Any:
    """A model that the run began with. declared: what its card says; licence: what people say, None for nothing."""

    def change(case: Case) -> None:
        case.with_evidence(lambda values: values["bases"].append({**BASE, "declared_licence": declared}))
        if licence is not None:
            case.with_answers(lambda values: values["base_models"].update(base={**FIRST, "licence": licence}))

    return change


def _other_text(case: Case) -> None:
    (case.folder / "LICENSE").write_bytes((FOLDER / "MIT.txt").read_bytes())


def _asked(licence: str | None) -> Any:
    """The model was asked somebody else's questions. licence: what people say of them, None for nothing."""

    def change(case: Case) -> None:
        def rename(values: Values) -> None:
            for one in values["measured"]:
                if one["kind"] == "tasks":
                    one["content"]["tasks"]["belebele_fra_Latn"] = one["content"]["tasks"].popitem()[1]

        case.with_evidence(rename)
        if licence is not None:
            case.with_answers(lambda values: values["evaluation_sets"].update(belebele={**SET, "licence": licence}))

    return change


def _no_attribution(case: Case) -> None:
    said = next(iter(case.answers.training_content.sources.values())).attribution
    case.with_text("NOTICE", said, "divers")


MUTANTS = [
    Mutant("a source that is not for commercial use", 14, _source("CC-BY-NC-4.0"), only=True),
    Mutant("a source of unknown licence", 14, _source("unknown")),
    Mutant("a source under share-alike, and nobody has decided", 14, _source("CC-BY-SA-4.0"), only=True),
    Mutant("a source whose caveats say share-alike", 14, _source("etalab-2.0", caveats=["share-alike"])),
    Mutant("a source whose licence is misspelt", 14, _source("etalab 2"), only=True),
    Mutant("weights under a licence with restrictions of use", 14, _weights("OpenRAIL")),
    Mutant("weights under an expression", 14, _weights("Apache-2.0 OR MIT")),
    Mutant("weights in the public domain, of texts that ask for attribution", 14, _weights("CC0-1.0")),
    Mutant("LICENSE is another licence's text", 14, _other_text),
    Mutant("a word of LICENSE is changed", 14, lambda case: case.with_text("LICENSE", "perpetual", "temporary")),
    Mutant("NOTICE does not name a source's authors", 14, _no_attribution),
    Mutant("a base model of which nobody says the licence", 14, _base(None, None)),
    Mutant("a base model whose card says another licence", 14, _base("llama3", "Apache-2.0")),
    Mutant("a base model under share-alike", 14, _base("cc-by-sa-4.0", "CC-BY-SA-4.0")),
    Mutant("somebody else's questions, of which nobody says the licence", 14, _asked(None)),
    Mutant("somebody else's questions under a licence that is none", 14, _asked("libre")),
    Mutant("a licence is said of questions that were not asked", 14, lambda case: case.with_answers(
        lambda values: values["evaluation_sets"].update(belebele=SET)), only=True),
    Mutant("a run behind this one that is gone", 14, lambda case: case.with_evidence(
        lambda values: values.update(missing_stems=["gone"]))),
]  # fmt: skip
