"""Check 9: the chat template is the one that the model was taught with; a base model has none.

A model that was never taught to answer and has a template makes every tool that finds it talk to it as if it had been.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from clapas.release.evidence.evidence import Evidence
from clapas.release.gate.check import Check, Draft, Verdict, judged, not_run
from clapas.release.gate.probe_texts import CONVERSATION
from clapas.release.gate.reading import Unreadable, read_object, read_text
from clapas.release.gate.seen import SeenTokenizer
from clapas.release.layout import TEMPLATE, TOKENIZER_CONFIG

MORE = "additional_chat_templates"
"""A folder in which transformers looks for further templates."""


def check(draft: Draft) -> Verdict:
    """Both places of the template, what made the training data, and what stock transformers renders."""
    config = read_object(draft.folder, TOKENIZER_CONFIG)
    if isinstance(config, Unreadable):
        return not_run(config.why)
    inner = config.get("chat_template")
    file = read_text(draft.folder, TEMPLATE) if (draft.folder / TEMPLATE).exists() else None
    if isinstance(file, Unreadable):
        return judged([file.why], "")
    places = [name for name, value in ((TOKENIZER_CONFIG, inner), (TEMPLATE, file)) if value is not None]
    places += [MORE] if (draft.folder / MORE).exists() else []
    own = draft.evidence.own_data.chat_template
    if not places and own is None:
        return judged((), "a base model, and no template")
    if own is None and not _may_be_taught(draft.evidence):
        return judged([f"a base model, and a chat template in {' and '.join(places)}"], "")
    if problems := list(_places(inner, file, own)):
        return judged(problems, "")
    seen = draft.seen
    if seen is None:
        return not_run("transformers is not installed: whether the template renders was not tried")
    if seen.tokenizer is None:
        return not_run("the tokenizer does not load: see check 10")
    return judged(_rendering(seen.tokenizer, file), "the same in both files, and stock transformers renders it")


def _may_be_taught(evidence: Evidence) -> bool:
    """Whether it may have learned to answer before its own data, which are text: from those of a run that it began
    with, or from a model of which nobody here knows what it was taught."""
    unknown = any(base.run is None or base.role == "teacher" for base in evidence.bases)
    return unknown or bool(evidence.missing_stems) or any(data.chat_template for data in evidence.data)


def _places(inner: object, file: str | None, own: str | None) -> Iterator[str]:
    if inner is None:
        yield f"{TOKENIZER_CONFIG} has no chat_template, which is where older tools look"
    if file is None:
        yield f"{TEMPLATE} is missing, which is where newer tools look"
    if inner is not None and file is not None and inner != file:
        yield f"the template of {TOKENIZER_CONFIG} is another than {TEMPLATE}"
    if file is not None and own not in (None, found := hashlib.sha256(file.encode()).hexdigest()):
        yield f"{TEMPLATE} has SHA-256 {found}, the template that made the training data {own}"


def _rendering(seen: SeenTokenizer, file: str | None) -> Iterator[str]:
    if file is not None and seen.template != file.replace("\r\n", "\n"):  # as a text file is read
        yield f"stock transformers takes another template than {TEMPLATE}"
    if seen.rendering_error is not None:
        yield f"stock transformers cannot render it: {seen.rendering_error}"
        return
    text, asking = seen.rendered
    at = 0
    for turn in CONVERSATION:
        if (at := text.find(turn["content"], at)) < 0:
            yield f"what the {turn['role']} says is not in the text, or not in its place: {turn['content']!r}"
            return
    if asking == text or not asking.startswith(text):
        yield "add_generation_prompt does not end the text with the header of the assistant's turn"


CHECK = Check(9, "template", "the chat template is the one taught, and renders; none on a base model", check)
