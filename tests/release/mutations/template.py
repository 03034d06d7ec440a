"""Chat templates where there must be none, none where there must be one: check 9. Those of a model that was taught to
chat are in tests/release/gate/test_template.py."""

from __future__ import annotations

from tests.release.mutations.config import fields
from tests.release.mutations.mutant import Case, Mutant, Values

CONFIG, FILE = "tokenizer_config.json", "chat_template.jinja"
TEMPLATE = "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}\n{% endfor %}"


def in_file(case: Case) -> None:
    """As newer tools look for it."""
    (case.folder / FILE).write_text(TEMPLATE, encoding="utf-8")


def in_both(case: Case) -> None:
    """A base model that passes itself off as one that answers."""
    in_file(case)
    fields(CONFIG, chat_template=TEMPLATE)(case)


def among_more(case: Case) -> None:
    """Where transformers looks for further ones."""
    (case.folder / "additional_chat_templates").mkdir()
    (case.folder / "additional_chat_templates/tools.jinja").write_text(TEMPLATE, encoding="utf-8")


def taught(values: Values) -> None:
    """The model was taught by conversations, written with a template."""
    values["data"][0]["chat_template"] = "0" * 64


MUTANTS = [
    Mutant("a base model with a template in its tokenizer's config", 9, fields(CONFIG, chat_template=TEMPLATE)),
    Mutant("a base model with a template in a file", 9, in_file),
    Mutant("a base model with a template in both places", 9, in_both),
    Mutant("a base model with a template among further ones", 9, among_more),
    Mutant("the template that taught it is missing", 9, lambda case: case.with_evidence(taught), only=True),
]
