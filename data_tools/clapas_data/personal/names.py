"""Names of persons by a model: Presidio or EDS-NLP, for names without a title.

Both are optional and slow: a model reads every sentence, 0.02 MB/s a core with a small one where all other
detectors together read 13. Their models are the user's choice and are loaded by name or path; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Literal

from clapas.recipe.errors import UserError
from clapas_data.optional import needs
from clapas_data.personal.finding import Finding

NamesBy = Literal["titles", "presidio", "eds-nlp"]
Namer = Callable[[str], Iterable[Finding]]

DEFAULT_MODELS = {"presidio": "fr_core_news_md", "eds-nlp": "eds_pseudo"}
_SURE = 0.4
"""Presidio's score from which a name is taken; its spaCy recogniser gives 0.85."""
_LABELS = frozenset({"NOM", "PRENOM", "PER", "PERSON"})
"""What EDS-Pseudo and spaCy's models call names."""


@lru_cache(maxsize=2)
def load_namer(by: NamesBy, model: str | None) -> Namer:
    """What finds names in a text. Raises UserError where the package or its model is missing."""
    if by == "presidio":
        return _presidio(model or DEFAULT_MODELS[by])
    return _eds_nlp(model or DEFAULT_MODELS["eds-nlp"])


def _presidio(model: str) -> Namer:
    """Presidio's analyser on a spaCy model of French."""
    with needs("presidio-analyzer", "`names: presidio` of the step `personal`", extra=None):
        from presidio_analyzer import AnalyzerEngine  # pyright: ignore[reportMissingImports]
        from presidio_analyzer.nlp_engine import NlpEngineProvider  # pyright: ignore[reportMissingImports]
    _refuse_missing_model(model, "presidio")
    configuration = {"nlp_engine_name": "spacy", "models": [{"lang_code": "fr", "model_name": model}]}
    engine = NlpEngineProvider(nlp_configuration=configuration).create_engine()
    analyzer = AnalyzerEngine(nlp_engine=engine, supported_languages=["fr"])

    def find(text: str) -> Iterable[Finding]:
        results = analyzer.analyze(text=text, language="fr", entities=["PERSON"], score_threshold=_SURE)
        return [Finding("person", result.start, result.end) for result in results]

    return find


def _eds_nlp(model: str) -> Namer:
    """A pipeline of EDS-NLP (AP-HP), such as EDS-Pseudo."""
    with needs("edsnlp", "`names: eds-nlp` of the step `personal`", extra=None):
        import edsnlp  # pyright: ignore[reportMissingImports]
    if "/" in model and not Path(model).exists():  # it would be looked for on the Hub
        raise _no_model(model, "eds-nlp", FileNotFoundError("no such folder"))
    try:
        pipeline = edsnlp.load(model)
    except (OSError, ImportError, ValueError) as error:
        raise _no_model(model, "eds-nlp", error) from None

    def find(text: str) -> Iterable[Finding]:
        entities = pipeline(text).ents
        return [
            Finding("person", entity.start_char, entity.end_char) for entity in entities if entity.label_ in _LABELS
        ]

    return find


def _refuse_missing_model(model: str, by: str) -> None:
    """Presidio would download a model that is missing: compute nodes have no internet, and a build asks for none."""
    import spacy  # pyright: ignore[reportMissingImports]

    try:
        spacy.load(model)
    except OSError as error:
        raise _no_model(model, by, error) from None


def _no_model(model: str, by: str, error: Exception) -> UserError:
    return UserError(
        f"`names: {by}` cannot load its model",
        where="steps.personal.names_model",
        found=f"{model}: {error}",
        wanted="an installed package's name, or a folder",
        way_out="install the model before, or leave `names` out: names after titles are found without one",
    )
