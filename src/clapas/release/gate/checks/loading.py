"""Check 10: stock transformers loads it in a clean, offline process, whole, as the model that was trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from clapas.model.config import ModelConfig
from clapas.model.hf_config import generation_config, to_hf_config
from clapas.release.evidence.evidence import Evidence
from clapas.release.gate.check import Check, Draft, Verdict, judged, not_run
from clapas.release.gate.reading import Unreadable, read_object
from clapas.release.gate.seen import Seen
from clapas.release.layout import CONFIG, GENERATION, TOKENIZER_CONFIG

REMOTE_CODE = "auto_map"
"""The field by which a folder asks for its own code to be run."""
OF_OTHER_CHECKS = frozenset(
    (
        *("dtype", "torch_dtype"),  # 3
        *("rope_theta", "rope_parameters", "rope_scaling", "max_position_embeddings"),  # 4
        *("vocab_size", "unpadded_vocab_size"),  # 5
        "tie_word_embeddings",  # 6
        *("bos_token_id", "eos_token_id", "pad_token_id"),  # 7
    )
)


def check(draft: Draft) -> Verdict:
    """The fields that choose what is loaded, then loading itself."""
    config = read_object(draft.folder, CONFIG)
    if isinstance(config, Unreadable):
        return not_run(config.why)
    seen = draft.seen
    if seen is None:
        return not_run("transformers is not installed")
    problems = [*_remote_code(draft, config), *_other_model(config, draft.evidence), *_other_texts(draft)]
    problems += _loading(seen, config)
    return judged(problems, f"{seen.kind}, {seen.parameters:,} parameters, no key missing, unexpected or mismatched")


def _remote_code(draft: Draft, config: dict[str, Any]) -> Iterator[str]:
    tokenizer = read_object(draft.folder, TOKENIZER_CONFIG)
    for name, fields in ((CONFIG, config), (TOKENIZER_CONFIG, tokenizer)):
        if not isinstance(fields, Unreadable) and REMOTE_CODE in fields:
            yield f"{name} has {REMOTE_CODE}: it asks for code of its own to be run"


def _other_model(config: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """Fields that say another model than the one trained, or that nobody wrote."""
    trained = to_hf_config(ModelConfig.model_validate(evidence.model), eos=0, bos=0, pad=0, dtype="bfloat16")
    yield from _differing(CONFIG, config, trained)


def _other_texts(draft: Draft) -> Iterator[str]:
    """Fields by which `generate` writes other texts than the model's: a length, forbidden ids, a temperature."""
    generation = read_object(draft.folder, GENERATION)
    if not isinstance(generation, Unreadable):
        yield from _differing(GENERATION, generation, generation_config(eos=0, bos=0, pad=0))


def _differing(name: str, found: dict[str, Any], written: dict[str, Any]) -> Iterator[str]:
    for key in sorted((found.keys() | written.keys()) - OF_OTHER_CHECKS - {REMOTE_CODE}):
        if key not in written:
            yield f"{name} has {key}, which no export writes"
        elif key not in found:
            yield f"{name} has no {key}: its reader makes one up"
        elif orjson.dumps(found[key]) != orjson.dumps(written[key]):  # 0 is not false, to readers that are not Python
            yield f"{name} says {key} {found[key]!r}, and an export of what was trained {written[key]!r}"


def _loading(seen: Seen, config: dict[str, Any]) -> Iterator[str]:
    if seen.tokenizer_error is not None:
        yield f"the tokenizer does not load: {seen.tokenizer_error}"
    if seen.error is not None:
        yield f"the model does not load: {seen.error}"
        return
    for kind, keys in (seen.keys or {}).items():
        yield f"{kind}: {', '.join(keys[:5])}{' …' if len(keys) > 5 else ''}"
    if [seen.kind] != config.get("architectures"):
        yield f"it loads as {seen.kind}, and {CONFIG} says architectures {config.get('architectures')}"
    if not seen.finite:
        yield "its logits of a French text are not finite"


CHECK = Check(10, "loading", "loads in a clean, offline process with stock transformers, whole, without code", check)
