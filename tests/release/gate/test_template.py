"""Check 9 of a model that was taught to chat: the template that taught it, in both places, which renders."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.release.drafts import small_answers, small_evidence

from clapas.checkpoint.reader import open_checkpoint
from clapas.release.evidence.evidence import Evidence
from clapas.release.export import export
from clapas.release.gate.check import Draft, Verdict
from clapas.release.gate.checks.template import CHECK
from clapas.release.gate.stranger import Stranger
from clapas_data.chat.template import SHIPPED

OURS = (SHIPPED / "clapas.jinja").read_text(encoding="utf-8")
BARE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
TRIMMED = BARE.replace("message.content", "message.content[:9]")
REFUSING = "{{ raise_exception('only with tools') }}"


@pytest.fixture(scope="module")
def base(trained_run: Path, stranger: Stranger, tmp_path_factory: pytest.TempPathFactory) -> Draft:
    """A base model, exported. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("base") / "model"
    export(open_checkpoint(trained_run).folder, folder)
    return Draft(folder, small_evidence(trained_run), small_answers(), None, stranger)


def taught(evidence: Evidence, template: str) -> Evidence:
    """The evidence of a run that read conversations written with a template."""
    values: dict[str, Any] = evidence.model_dump(mode="json")
    values["data"][0]["chat_template"] = hashlib.sha256(template.encode()).hexdigest()
    return Evidence.model_validate(values)


def judge(draft: Draft, folder: Path, learned: str, inner: str | None, file: str | None) -> Verdict:
    """What check 9 says of the model taught with one template and exported with these."""
    shutil.copytree(draft.folder, folder)
    if inner is not None:
        path = folder / "tokenizer_config.json"
        path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), "chat_template": inner}))
    if file is not None:
        (folder / "chat_template.jinja").write_text(file, encoding="utf-8")
    return CHECK.function(replace(draft, folder=folder, evidence=taught(draft.evidence, learned)))


def test_the_template_that_taught_it_in_both_places_passes(base: Draft, tmp_path: Path) -> None:
    """Ours, by which the turns are marked."""
    assert judge(base, tmp_path / "model", OURS, OURS, OURS).status == "pass"


@pytest.mark.parametrize(
    ("learned", "inner", "file", "said"),
    [
        (OURS, None, OURS, "tokenizer_config.json has no chat_template"),
        (OURS, OURS, None, "chat_template.jinja is missing"),
        (OURS, OURS + " ", OURS, "is another than chat_template.jinja"),
        (OURS, BARE, BARE, "the template that made the training data"),
        (REFUSING, REFUSING, REFUSING, "cannot render it"),
        (TRIMMED, TRIMMED, TRIMMED, "is not in the text"),
        (BARE, BARE, BARE, "add_generation_prompt does not end the text"),
        ("{% if", "{% if", "{% if", "cannot render it"),
    ],
    ids=["only in the file", "only in the config", "two", "another", "refuses", "loses words", "no prompt", "no Jinja"],
)
def test_what_is_wrong_with_a_template_is_told(
    base: Draft, tmp_path: Path, learned: str, inner: str | None, file: str | None, said: str
) -> None:
    """Each fault by its own sentence."""
    verdict = judge(base, tmp_path / "model", learned, inner, file)
    assert verdict.status == "fail"
    assert said in verdict.said[0]
