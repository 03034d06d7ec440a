"""How text is split before any merge: presets that llama.cpp knows by name, and no others.

A GGUF does not hold a regex but a name, `tokenizer.ggml.pre`, for which llama.cpp has its own code: a split of our own
would be one that no GGUF can say. So what becomes of digits, spaces and LaTeX is a choice between two presets:

| | llama3 | qwen2 |
|---|---|---|
| digits | groups of three from the left: `1234567` is `123` `456` `7` | one by one |
| a run of spaces | one piece up to its last space, which goes with the word; the same in both | |
| no-break space | apart before `; : ! ? »`, with the word after `«`; the same in both | |
| LaTeX | `\\frac` is one piece after a letter, a digit or a line's end; a sign or a space before it takes the \
backslash (` \\` `frac`, `}\\` `frac`); the same in both | |

Both are GPT-4's split but for the digits. Digits from the right in threes (`1` `234` `567`) have no name in llama.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

SplitName = Literal["llama3", "qwen2"]


@dataclass(frozen=True, slots=True)
class Split:
    """A split before the merges.

    regex: as in the `tokenizer.json` of the model of that name. gguf: `tokenizer.ggml.pre`. ignore_merges: whether a
    piece that is a token is one whatever the merges say, which llama.cpp does for `llama-bpe` alone.
    """

    name: SplitName
    regex: str
    gguf: str
    ignore_merges: bool


def _regex(digits: str) -> str:
    return (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
        + digits
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


SPLITS: dict[str, Split] = {
    "llama3": Split("llama3", _regex(r"\p{N}{1,3}"), gguf="llama-bpe", ignore_merges=True),
    "qwen2": Split("qwen2", _regex(r"\p{N}"), gguf="qwen2", ignore_merges=False),
}
"""As in meta-llama/Meta-Llama-3-8B's and Qwen/Qwen2-7B's tokenizer.json; llama.cpp's `llama-vocab.cpp` quotes both."""


def split_of(content: dict[str, Any]) -> Split | None:
    """The preset by which a `tokenizer.json` splits, None where it is none of them: what a GGUF export asks."""
    pre = content.get("pre_tokenizer") or {}
    parts = pre.get("pretokenizers") or [pre]
    regexes = [part.get("pattern", {}).get("Regex") for part in parts if part.get("type") == "Split"]
    ignores = bool(content.get("model", {}).get("ignore_merges"))
    normalizer = (content.get("normalizer") or {"type": "NFC"})["type"]
    if len(regexes) != 1 or normalizer != "NFC":  # Qwen2's own makes NFC, which our text is; llama.cpp makes nothing
        return None
    return next((one for one in SPLITS.values() if (one.regex, one.ignore_merges) == (regexes[0], ignores)), None)
