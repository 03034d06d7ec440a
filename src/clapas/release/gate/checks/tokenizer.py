"""Check 8: the tokenizer is the one that made the training data, and gives French back letter by letter.

The letters, not their bytes: an é may come back composed (Unicode's NFC), as Qwen's tokenizers write it. What loses a
ligature or a no-break space (NFKC) does not pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from unicodedata import normalize

from tokenizers import Tokenizer

from clapas.evaluate.load import read_tokenizer
from clapas.recipe.errors import UserError
from clapas.recipe.hashes import file_hash
from clapas.release.evidence.evidence import DataFacts
from clapas.release.gate.check import Check, Draft, Verdict, judged, not_run
from clapas.release.gate.probe_texts import TEXTS
from clapas.release.gate.reading import Unreadable, read_object
from clapas.release.gate.seen import SeenText, SeenTokenizer
from clapas.release.layout import TOKENIZER, TOKENIZER_CONFIG
from clapas.release.tokenizer_files import CLASS, tokenizer_settings

OF_OTHER_CHECKS = frozenset(
    (
        "model_max_length",  # 4
        *("bos_token", "eos_token", "pad_token", "add_bos_token"),  # 7
        *("tokenizer_class", "clean_up_tokenization_spaces"),  # looked at here, with or without the run
        "chat_template",  # 9
        "auto_map",  # 10
    )
)
"""Settings of a tokenizer that are looked at elsewhere."""


def check(draft: Draft) -> Verdict:
    """The file's hash; what stock transformers makes of French text, and what `tokenizers` alone makes of it."""
    if not (draft.folder / TOKENIZER).is_file():
        return not_run(f"{TOKENIZER} is missing")
    if problems := [*_other_file(draft), *_other_readers(draft), *_other_settings(draft)]:
        return judged(problems, "")
    seen = draft.seen
    if seen is None:
        return not_run("transformers is not installed: only the file's hash was compared")
    if seen.tokenizer is None:
        return not_run("the tokenizer does not load: see check 10")
    try:
        own = read_tokenizer(draft.folder)
    except UserError as error:
        return judged([error.what], "")
    data = draft.evidence.own_data
    which = "of an unknown corpus" if data.tokenizer_hash is None else "the training data's"
    return judged(_differing(seen.tokenizer, own, data), f"{which}; {len(TEXTS)} French texts come back whole")


def _other_file(draft: Draft) -> Iterator[str]:
    wanted, found = draft.evidence.own_data.tokenizer_hash, file_hash(draft.folder / TOKENIZER)
    if wanted not in (None, found):
        yield f"{TOKENIZER} has SHA-256 {found}, the tokenizer that made the training data {wanted}"


def _other_readers(draft: Draft) -> Iterator[str]:
    """What transformers 5 passes over, and transformers 4, vLLM and converters do not."""
    config = read_object(draft.folder, TOKENIZER_CONFIG)
    if isinstance(config, Unreadable):
        return  # check 1 tells
    if config.get("tokenizer_class") != CLASS:
        yield f"{TOKENIZER_CONFIG} says tokenizer_class {config.get('tokenizer_class')!r}: only {CLASS} reads it as is"
    if config.get("clean_up_tokenization_spaces"):
        yield f"{TOKENIZER_CONFIG} has clean_up_tokenization_spaces: it takes the spaces before ? and ! away"


def _other_settings(draft: Draft) -> Iterator[str]:
    """Settings that the tokenizer which made the training data has not, or has otherwise: each adds tokens for some
    reader, or has it cut and pad texts in another way."""
    if draft.live is None:
        return
    for name, wanted in tokenizer_settings(draft.live.tokenizer.path, 0).items():
        found = read_object(draft.folder, name)
        if isinstance(found, Unreadable):
            continue  # check 1 tells
        for key in sorted((found.keys() | wanted.keys()) - OF_OTHER_CHECKS):
            if found.get(key) != wanted.get(key):
                yield f"{name} says {key} {found.get(key)!r}, the training data's tokenizer {wanted.get(key)!r}"


def _differing(seen: SeenTokenizer, own: Tokenizer, data: DataFacts) -> Iterator[str]:
    begin = (data.bos,) if data.uses_bos else ()
    for text, there in zip(TEXTS, seen.texts, strict=True):
        yield from (f"{problem}, of {text[:24]!r}…" for problem in _of_text(text, there, own, begin))


def _of_text(text: str, seen: SeenText, own: Tokenizer, begin: tuple[int | None, ...]) -> Iterator[str]:
    if tuple(own.encode(text, add_special_tokens=False).ids) != seen.ids:
        yield "transformers makes other ids than `tokenizers`"
    elif seen.as_called != begin + seen.ids:
        yield f"a plain call adds other ids than the training data have at a document's beginning, {list(begin)}"
    if normalize("NFC", seen.decoded) != normalize("NFC", text):
        at = next((i for i, (a, b) in enumerate(zip(text, seen.decoded, strict=False)) if a != b), len(text))
        yield f"decodes to {seen.decoded[at : at + 12]!r}, not {text[at : at + 12]!r}"


CHECK = Check(8, "tokenizer", "the tokenizer is the training data's, and French comes back letter by letter", check)
