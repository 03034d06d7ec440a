"""Tasks through a chat template: the prompt that the template makes is the prompt that is scored."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from tests.evaluate.small import BOS, write_model, write_tokenizer

from clapas.evaluate.harness.library import import_library
from clapas.evaluate.load import load
from clapas.recipe.errors import UserError

pytest.importorskip("lm_eval")
import_library()

from clapas.evaluate.harness.model import harness_model  # noqa: E402 after import_library
from clapas.evaluate.harness.run import run_tasks  # noqa: E402
from clapas.evaluate.harness.tasks import open_tasks  # noqa: E402

TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def test_the_template_makes_the_prompt(tmp_path: Path) -> None:
    """System, question, header; without a template of a folder that has none, ours or a refusal by name."""
    write_model(tmp_path)
    config = orjson.loads((tmp_path / "tokenizer_config.json").read_bytes())
    (tmp_path / "tokenizer_config.json").write_bytes(orjson.dumps({**config, "chat_template": TEMPLATE}))
    model = harness_model(load(tmp_path, device="cpu"), None, chat=True)
    found = run_tasks(model, open_tasks(["clapas_fr_droit_travail"]), limit=1, chat=True, system="Tu es juriste.")
    context, choice = found["items"]["clapas_fr_droit_travail"][0]["arguments"][0]
    assert context.startswith("[system] Tu es juriste.\n[user] La durée légale du travail")
    assert context.endswith("[assistant]")
    assert choice.strip() == "35 heures par semaine"


def test_without_a_template_it_is_refused(tmp_path: Path) -> None:
    """A model that was never taught to chat is not asked so."""
    write_model(tmp_path)
    with pytest.raises(UserError, match="chat template"):
        harness_model(load(tmp_path, device="cpu"), None, chat=True)


def test_no_bos_stands_before_what_the_template_wrote(tmp_path: Path) -> None:
    """It was not there in training either; without the template it is, where the tokenizer's texts begin so."""
    write_model(tmp_path)
    write_tokenizer(tmp_path, add_bos_token=True, chat_template=TEMPLATE)
    loaded = load(tmp_path, device="cpu")
    assert harness_model(loaded, None).tok_encode("a")[0] == BOS
    assert BOS not in harness_model(loaded, None, chat=True).tok_encode("a")
