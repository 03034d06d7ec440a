"""A tokenizer's files in an export: those that it came with, brought to what every reader takes.

`tokenizer.json` stays byte for byte, for it is what the shards were made with. The class is the one that reads that
file alone, in every version (transformers 5 writes `TokenizersBackend`, which transformers 4, vLLM and converters do
not know). No reader takes a space away that was there. The chat template stands where old readers look and where new
ones do.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orjson

from clapas.release.layout import SPECIAL_TOKENS, TEMPLATE, TOKENIZER, TOKENIZER_CONFIG

CLASS = "PreTrainedTokenizerFast"
NAMED = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")
LISTED = "additional_special_tokens"
NEEDS_CODE = ("auto_map", "tokenizer_file", "name_or_path")
"""Settings that point to code, or to files of the machine that wrote them."""


def write_tokenizer(source: Path, folder: Path, longest: int) -> None:
    """Write the files of the tokenizer in `source`. longest: tokens that the model takes, which it could not know."""
    shutil.copyfile(source / TOKENIZER, folder / TOKENIZER)
    settings = tokenizer_settings(source, longest)
    if (template := settings[TOKENIZER_CONFIG].get("chat_template")) is not None:
        (folder / TEMPLATE).write_text(template, encoding="utf-8", newline="")
    for name, content in settings.items():
        write_json(folder / name, content)


def tokenizer_settings(source: Path, longest: int) -> dict[str, dict[str, Any]]:
    """File -> what an export writes there of the tokenizer in `source`, beside the tokenizer itself."""
    settings = orjson.loads((source / TOKENIZER_CONFIG).read_bytes())
    template = _template(source, settings)
    kept = {key: value for key, value in settings.items() if key not in (*NEEDS_CODE, "chat_template")}
    written = {**kept, "tokenizer_class": CLASS, "clean_up_tokenization_spaces": False, "model_max_length": longest}
    if template is not None:
        written["chat_template"] = template
    # those of the settings, by which the ids of shards and configs are found: a map that says otherwise is not copied
    special = {name: settings[name] for name in (*NAMED, LISTED) if settings.get(name)}
    return {TOKENIZER_CONFIG: written, SPECIAL_TOKENS: special}


def _template(source: Path, settings: dict[str, Any]) -> str | None:
    """A folder's own chat template, as `clapas_data.chat.template` looks for it; of several the one named `default`."""
    if (file := source / TEMPLATE).is_file():
        return file.read_bytes().decode()
    own = settings.get("chat_template")
    if isinstance(own, list):
        own = {entry["name"]: entry["template"] for entry in own}.get("default")
    return own or None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Indented, with a line end."""
    path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
