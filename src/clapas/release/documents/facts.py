"""What documents are made from: the run's evidence, people's answers, and what was exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clapas.release.answers import Answers
from clapas.release.evidence.evidence import Evidence


@dataclass(frozen=True)
class Facts:
    """files: name in the release -> bytes, of the files of weights alone. digests: the same names -> SHA-256, in
    hexadecimal, as in SHA256SUMS. config: the exported `config.json`. is_chat: whether its tokenizer has a chat
    template.

    parameters: of the model as exported. gguf: quantisations beside it. revisions: names of intermediate ones.
    key: the fingerprint of the folder's public key (`signature.fingerprint`); None where an identity signs
    (`answers.signer`).
    """

    evidence: Evidence
    answers: Answers
    files: Mapping[str, int]
    digests: Mapping[str, str]
    config: Mapping[str, Any]
    is_chat: bool
    parameters: int
    gguf: tuple[str, ...] = ()
    revisions: tuple[str, ...] = ()
    key: str | None = None

    @property
    def date(self) -> str:
        """The date of every document, in ISO 8601."""
        return self.evidence.time[:10]
