"""Small folders of examples, written by the library's own writer, for tests of what trains on them."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Rows
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from clapas_data.encode import load_encoder, open_tokenizer
from clapas_data.examples import Example, Sequence, write_examples
from clapas_data.manifest import ExamplesRecord, Manifest, SourceRecord

QUESTIONS = (
    ("Quelle est la durée du préavis ?", "Le préavis dure un mois, sauf accord plus favorable."),
    ("Un salarié peut-il refuser ?", "Oui, dans les cas que prévoit le code du travail."),
    ("Combien de congés par an ?", "Cinq semaines de congés payés."),
    ("Qui signe le contrat ?", "L'employeur et le salarié signent le contrat de travail, chacun un exemplaire."),
)


def write_folder(
    out: Path,
    tokenizer: Path,
    texts: Rows[tuple[tuple[str, str], ...]],
    *,
    kind: Literal["conversations", "pairs", "labelled", "prompts"] = "conversations",
    held_out: int = 0,
    columns: Mapping[str, pa.DataType] | None = None,
    values: Rows[Mapping[str, Any]] | None = None,
    sources: Rows[str] = ("dialogues",),
) -> Manifest:
    """A folder of examples. texts: each of one (prompt, answer), or two for a pair; the answers are learned.

    sources: that the texts are from, in turn.
    """
    encoder, eos = load_encoder(tokenizer, "tokenizers"), open_tokenizer(tokenizer).record.eos

    def sequence(prompt: str, answer: str) -> Sequence:
        tokens, lengths = encoder.encode([prompt + "\n", answer])
        turns = np.concatenate([np.zeros(lengths[0], np.uint8), np.ones(lengths[1] + 1, np.uint8)])
        return Sequence(np.append(tokens.astype(np.int64), eos), turns)

    def examples() -> Any:
        for number, sides in enumerate(texts):
            yield Example(
                split="heldout" if number >= len(texts) - held_out else "train",
                source=sources[number % len(sources)],
                id=f"dialogue-{number}",
                sequences=tuple(sequence(*side) for side in sides),
                text_bytes=tuple(len("".join(side).encode()) for side in sides),
                columns={} if values is None else values[number],
            )

    return write_examples(
        out,
        examples(),
        name="dialogues",
        tokenizer=tokenizer,
        record=ExamplesRecord(kind=kind, documents_per_example=2 if kind == "pairs" else 1),
        sources=dict.fromkeys(sources, SourceRecord(licence="CC0-1.0")),
        columns=columns,
    )


def conversations(count: int) -> list[tuple[tuple[str, str], ...]]:
    """So many different conversations of one turn."""
    found = []
    for number in range(count):
        question, answer = QUESTIONS[number % len(QUESTIONS)]
        found.append(((f"{question} (n° {number})", f"{answer} " * (1 + number % 3)),))
    return found


def pairs(count: int) -> list[tuple[tuple[str, str], ...]]:
    """So many different pairs: a good answer to a question, and that to another."""
    found = []
    for number in range(count):
        question, answer = QUESTIONS[number % len(QUESTIONS)]
        prompt = f"{question} (n° {number})"
        other = QUESTIONS[(number + 1) % len(QUESTIONS)][1]
        found.append(((prompt, f"{answer} " * (1 + number % 3)), (prompt, other)))
    return found


def labelled(count: int) -> tuple[list[tuple[tuple[str, str], ...]], list[dict[str, bool]]]:
    """So many answers, and whether each is good: two of three are."""
    good = [number % 3 != 2 for number in range(count)]
    return [(sides[0 if is_good else 1],) for sides, is_good in zip(pairs(count), good, strict=True)], [
        {"label": is_good} for is_good in good
    ]
