"""A conversation with a model: turns to tokens by its chat template, answers piece by piece, the oldest turns left out
once they no longer fit."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

from clapas.evaluate.completion import Completion, Options, stream_texts
from clapas.evaluate.load import LoadedModel
from clapas.recipe.errors import UserError
from clapas_data.chat.encoder import Chat

LEAST_ROOM = 4
"""An answer gets `max_new_tokens`, or of a short context at least one place in so many."""


class Conversation:
    """What was said, and what the model says next.

    messages: the turns so far, without the system message. system: what the model is told before them, or None.
    tell: is told what the user should know of, a line at a time.
    """

    def __init__(
        self, loaded: LoadedModel, chat: Chat, options: Options, tell: Callable[[str], None], system: str | None = None
    ) -> None:
        self._loaded, self._chat, self._options, self._tell = loaded, chat, options, tell
        self._ends = chat.stop_ids()
        self._answers = 0  # each draws by a seed of its own, one that is asked for again too
        self.system = system
        self.messages: list[dict[str, str]] = []

    def answer(self, text: str) -> Generator[str, None, None]:
        """The model's answer to a user's turn, piece by piece.

        What was given of it is kept as the turn, also where the caller stops reading. Raises UserError where the turn
        does not fit the model's context, or the template refuses it; the conversation is then as it was before.
        """
        said: list[Completion] = []
        before = list(self.messages)
        self.messages.append({"role": "user", "content": text})
        try:
            ids = self._fitting()
        except UserError:
            self.messages = before
            raise
        options = replace(self._options, seed=self._options.seed + self._answers)
        self._answers += 1
        try:
            for _, piece in stream_texts(self._loaded, [ids], options, ends=self._ends, completions=said):
                yield piece
        finally:
            self.messages.append({"role": "assistant", "content": said[0].text if said else ""})

    def again(self) -> str | None:
        """Take back the last exchange; returns what the user had said, None where nothing was."""
        if not self.messages:
            return None
        *self.messages, asked, _ = self.messages
        return asked["content"]

    def clear(self) -> None:
        """Forget all turns; what the system message says stays."""
        self.messages.clear()

    def _fitting(self) -> list[int]:
        """The tokens of the turns that fit, the newest ones."""
        positions = self._loaded.model.config.max_position_embeddings
        room = positions - min(self._options.max_new_tokens, positions // LEAST_ROOM)
        left_out = 0
        ids = self._ids()
        while len(ids) > room and len(self.messages) > 1:
            self.messages = self.messages[2:]
            left_out += 1
            ids = self._ids()
        if len(ids) > room:
            raise UserError(
                "this turn does not fit the model's context",
                found=f"{len(ids)} tokens",
                wanted=f"at most {room}, which leaves room for an answer in {positions}",
            )
        if left_out:
            self._tell(
                f"contexte plein ({positions} tokens) : {left_out} échange(s) ancien(s) laissé(s) de côté "
                f"(context full: {left_out} oldest exchange(s) left out)"
            )
        return ids

    def _ids(self) -> list[int]:
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return self._chat.ids([*system, *self.messages]).tolist()
