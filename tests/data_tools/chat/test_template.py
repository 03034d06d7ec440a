"""Chat templates render as transformers renders them, and it is known what the assistant writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trl
from transformers import AutoTokenizer

from clapas.recipe.errors import UserError
from clapas_data.chat.encoder import open_chat
from clapas_data.chat.template import ChatTemplateError, need_template, shipped_templates

KNOWN = Path(trl.__file__).parent / "chat_templates"
"""Well-known models' own templates, and TRL's versions of them with `{% generation %}`."""
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": " Réponds en français.\n"},
    {"role": "user", "content": "Quelle est la durée du préavis ?"},
    {"role": "assistant", "content": "Un mois.\n\nSauf accord plus favorable."},
    {"role": "user", "content": "Et « au-delà » ?"},
    {"role": "assistant", "content": "Deux mois."},
]
TOOLS = [{"type": "function", "function": {"name": "cherche", "parameters": {"type": "object", "properties": {}}}}]
CALLS: list[dict[str, Any]] = [
    {"role": "user", "content": "Cherche l'article L. 1234-1."},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"type": "function", "function": {"name": "cherche", "arguments": {"article": "L. 1234-1 <é>"}}}
        ],
    },
    {"role": "tool", "content": "Préavis : un mois."},
    {"role": "assistant", "content": "Un mois."},
]


@pytest.fixture(scope="module")
def tokenizer(test_data: Path) -> Any:
    """transformers' view of the test tokenizer."""
    return AutoTokenizer.from_pretrained(test_data / "tokenizer")


def chosen(name: str) -> str:
    """A known template's file, or the name of one that ships."""
    return name if name in shipped_templates() else str(KNOWN / f"{name}.jinja")


@pytest.mark.parametrize(
    "name", ["clapas", "llama3", "llama3_1", "qwen2_5", "qwen3", "gemma3", "phi3", "deepseekv3", "lfm2", "gptoss"]
)
def test_the_text_is_that_of_transformers(test_data: Path, tokenizer: Any, name: str) -> None:
    """Whole, with the header of the next turn, with tools and their calls; what one refuses the other does."""
    template = need_template(test_data / "tokenizer", chosen(name))
    cases = [(MESSAGES, None, False), (MESSAGES[:2], None, True), (MESSAGES[1:], TOOLS, True), (CALLS, TOOLS, False)]
    for messages, tools, prompt in cases:
        options = {"tools": tools, "add_generation_prompt": prompt}
        try:
            wanted = tokenizer.apply_chat_template(messages, tokenize=False, chat_template=template.text, **options)
        except Exception:
            with pytest.raises(ChatTemplateError):
                template.render(messages, **options)
        else:
            assert template.render(messages, **options) == wanted


@pytest.mark.parametrize("name", ["clapas", "llama3_training", "qwen3_training", "gemma3_training", "phi3_training"])
def test_tokens_and_mask_are_those_of_transformers(test_data: Path, tokenizer: Any, name: str) -> None:
    """Where a template says itself what the assistant writes: ids and mask, with several turns and tools."""
    chat = open_chat(test_data / "tokenizer", chosen(name))
    for messages in (MESSAGES, CALLS) if name in ("clapas", "qwen3_training") else (MESSAGES,):
        wanted = tokenizer.apply_chat_template(
            messages, chat_template=chat.template.text, return_dict=True, return_assistant_tokens_mask=True
        )
        found = chat.turns(messages)
        np.testing.assert_array_equal(found.tokens, wanted["input_ids"])
        np.testing.assert_array_equal(found.turns > 0, wanted["assistant_masks"])


@pytest.mark.parametrize("name", ["llama3", "qwen2_5", "gemma3", "qwen3_instruct_2507"])
def test_turns_are_found_by_prefixes_where_the_template_does_not_say(test_data: Path, name: str) -> None:
    """The answer and, of it, the mark that ends it; not its header. Turns are numbered."""
    chat = open_chat(test_data / "tokenizer", chosen(name))
    text, spans = chat.template.render_turns(MESSAGES)
    for (start, stop), message in zip(spans, (MESSAGES[2], MESSAGES[4]), strict=True):
        assert text[start:stop].startswith(message["content"])
        assert len(text[start:stop]) > len(message["content"])
    assert set(chat.turns(MESSAGES).turns.tolist()) == {0, 1, 2}


@pytest.mark.parametrize("name", ["qwen3", "phi3"])
def test_a_template_that_writes_turns_otherwise_later_is_refused(test_data: Path, name: str) -> None:
    """Qwen3 drops its thinking, Phi-3 ends with EOS once: prefixes disagree, and the message names the way out."""
    with pytest.raises(ChatTemplateError, match="cannot tell what") as caught:
        open_chat(test_data / "tokenizer", chosen(name)).turns(MESSAGES)
    assert "generation" in str(caught.value)


def test_a_template_is_no_way_out_of_its_sandbox(test_data: Path, tmp_path: Path) -> None:
    """It reaches no Python beyond what it is given, and changes nothing of the messages."""
    for number, text in enumerate(("{{ messages.__class__.__mro__ }}", "{% set _ = messages.append(1) %}")):
        file = tmp_path / f"{number}.jinja"
        file.write_text(text)
        with pytest.raises(ChatTemplateError, match=r"SecurityError|unsafe|not safely callable"):
            need_template(test_data / "tokenizer", file).render(MESSAGES)


def test_what_is_no_template_is_told(test_data: Path, tmp_path: Path) -> None:
    """A syntax error with its line; a name that there is not; marks that the tokenizer lacks."""
    (tmp_path / "bad.jinja").write_text("{% for m in messages %}\n{% endif %}")
    with pytest.raises(UserError, match=r"bad\.jinja:2: not a chat template"):
        need_template(test_data / "tokenizer", tmp_path / "bad.jinja")
    with pytest.raises(UserError, match="no chat template here"):
        need_template(test_data / "tokenizer", "clapass")
    with pytest.raises(UserError, match=r"no token <\|im_start\|>"):
        need_template(test_data / "tokenizer", "chatml")
