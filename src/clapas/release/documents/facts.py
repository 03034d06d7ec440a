"""What documents are made from: the run's evidence, people's answers, and what was exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clapas.release.answers import Answers
from clapas.release.evidence.evidence import Evidence
from clapas.release.gate.reading import Unreadable, read_model, weight_files
from clapas.release.layout import GGUF, REVISIONS, TEMPLATE
from clapas.release.sums import Digests, NotSoundError


@dataclass(frozen=True)
class Facts:
    """files: name -> bytes, of the model's own files of weights. gguf: the same of the files in `gguf/`. digests: of
    both, name in the release -> SHA-256, in hexadecimal, as in SHA256SUMS. config: the exported `config.json`.
    is_chat: whether its tokenizer has a chat template.

    parameters: of the model as exported. revisions: names of intermediate checkpoints, which have sums of their own.
    key: the fingerprint of the folder's public key (`keys.fingerprint`); None where an identity signs
    (`answers.signer`).
    """

    evidence: Evidence
    answers: Answers
    files: Mapping[str, int]
    digests: Mapping[str, str]
    config: Mapping[str, Any]
    is_chat: bool
    parameters: int
    gguf: Mapping[str, int] = field(default_factory=dict)
    revisions: tuple[str, ...] = ()
    key: str | None = None

    @property
    def date(self) -> str:
        """The date of every document, in ISO 8601."""
        return self.evidence.time[:10]

    @property
    def weights(self) -> dict[str, int]:
        """Every file that holds the weights, in whatever form: name in the release -> bytes."""
        return {**self.files, **{f"{GGUF}/{name}": size for name, size in self.gguf.items()}}


def facts_of(folder: Path, evidence: Evidence, answers: Answers, digests: Digests, key: str | None) -> Facts:
    """The facts of a release's folder, as it was exported. digests: of its files. key: see `Facts`.

    Raises NotSoundError where its config or its weights cannot be read.
    """
    model, files, gguf = read_model(folder), weight_files(folder), _names(folder / GGUF)
    if isinstance(model, Unreadable):
        raise NotSoundError(model.why, where=folder)
    config, tensors = model
    return Facts(
        evidence=evidence,
        answers=answers,
        files={name: (folder / name).stat().st_size for name in files},
        digests=digests.of(folder, [*files, *(f"{GGUF}/{name}" for name in gguf)]),
        config=config,
        is_chat=(folder / TEMPLATE).is_file(),
        parameters=sum(tensor.elements for tensor in tensors.values()),
        gguf={name: (folder / GGUF / name).stat().st_size for name in gguf},
        revisions=_names(folder / REVISIONS),
        key=key,
    )


def _names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else ()
