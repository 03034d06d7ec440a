"""The prompts of a batch: their tokens, their texts, and what the documents table knows of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq
from tokenizers import Tokenizer

from clapas.loader.batch import Batch
from clapas_data.documents import DOCUMENTS, SCHEMA
from clapas_data.examples import column
from clapas_data.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Prompt:
    """document: its number among all of the manifest's. source_id: as `Batch.source_ids`."""

    document: int
    tokens: list[int]
    source_id: int


class Prompts:
    """A folder of prompts."""

    def __init__(self, manifest: Manifest, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._lengths: list[int] = column(manifest, "tokens")
        self._names: list[str] = column(manifest, "id")
        own = [name for name in pq.read_schema(manifest.folder / DOCUMENTS).names if name not in SCHEMA.names]
        self._columns: dict[str, list[Any]] = {name: column(manifest, name) for name in own}

    def of_batch(self, batch: Batch) -> Iterator[Prompt]:
        """The prompts of a batch, in its order, without the EOS that ends each document."""
        assert batch.documents is not None
        assert batch.segments is not None
        for segment, document in enumerate(batch.documents.tolist()):
            inside_BS = batch.segments == segment
            row = int(inside_BS.any(1).nonzero()[0])
            tokens = batch.tokens[row][inside_BS[row]].tolist()
            yield Prompt(document, tokens[: self._lengths[document] - 1], int(batch.source_ids[row]))

    def name(self, document: int) -> str:
        """Its source's own id."""
        return self._names[document]

    def columns(self, document: int) -> dict[str, Any]:
        """What else is known of a prompt, such as its answer."""
        return {name: values[document] for name, values in self._columns.items()}

    def text(self, tokens: list[int], *, special: bool = False) -> str:
        """Tokens as text. special: with special tokens, such as the chat template's."""
        return self._tokenizer.decode(tokens, skip_special_tokens=not special)
