"""What probes have in common: the model that is asked, and how its answers are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from clapas.engine.ranks import Ranks
from clapas.evaluate.continuations import Continuation, Scorer
from clapas.evaluate.harness.local_tasks import read_rows
from clapas.evaluate.load import LoadedModel
from clapas.evaluate.stop_ids import own_chat, stop_ids
from clapas.evaluate.writer import Writer
from clapas.recipe.hashes import file_hash
from clapas_data.chat.encoder import Chat

ITEMS = Path(__file__).parent / "items"


@dataclass(frozen=True)
class Asked:
    """A model under probes. ranks: who share the work. seed: of all that is drawn.

    chat: whether prompts go through the model's chat template, as a user's message.
    """

    loaded: LoadedModel
    ranks: Ranks | None = None
    seed: int = 0
    chat: bool = False

    @property
    def longest(self) -> int:
        """Tokens that the model reads at once."""
        return self.loaded.model.config.max_position_embeddings

    @cached_property
    def scorer(self) -> Scorer:
        """What judges texts."""
        return Scorer(self.loaded.model, self.longest, self.loaded.device, self.ranks)

    @cached_property
    def writer(self) -> Writer:
        """What writes texts."""
        loaded = self.loaded
        ends = stop_ids(loaded) if self.template is None else self.template.stop_ids()
        return Writer(loaded.model, loaded.tokenizer, loaded.special, self.ranks, self.seed, ends)

    @cached_property
    def template(self) -> Chat | None:
        """The model's chat, where it is asked through it. Raises UserError where it has none."""
        if not self.chat:
            return None
        chat = own_chat(self.loaded.tokenizer_folder)
        chat.template.check()
        return chat

    def encode(self, text: str) -> list[int]:
        """A text after what stands before a document: BOS where the model was trained so, else the EOS before."""
        special = self.loaded.special
        first = special.bos if special.uses_bos and special.bos is not None else special.eos
        return [first, *self.loaded.tokenizer.encode(text, add_special_tokens=False).ids]

    def sentences(self, texts: Sequence[str]) -> list[float]:
        """The log-likelihood of each text, in nats."""
        tokens = [self.encode(text) for text in texts]
        asked = [Continuation((first,), tuple(rest)) for first, *rest in tokens]
        return [found.log_likelihood for found in self.scorer.score(asked)]

    def prompts(self, requests: Sequence[str], plain: str = "{}") -> list[list[int]]:
        """Requests as the model is asked: through its chat template, or in a frame of plain text."""
        if self.template is None:
            return [self.encode(plain.format(request)) for request in requests]
        return [self.template.ids([{"role": "user", "content": request}]).tolist() for request in requests]


@dataclass(frozen=True, slots=True)
class ItemSet:
    """Items that ship with a probe. name: of their file."""

    name: str

    @property
    def path(self) -> Path:
        """Where they lie."""
        return ITEMS / f"{self.name}.jsonl"

    def rows(self) -> list[dict[str, Any]]:
        """The items."""
        return read_rows(self.path)

    def facts(self) -> dict[str, str]:
        """What a record says of them."""
        return {"file": self.path.name, "sha256": file_hash(self.path)}
