"""Our model as `lm-eval` sees one. Imported only once the library is known to be there (`library.import_library`).

The harness is told of one rank whatever their number: each rank makes the same requests and gets all answers, and the
work behind them is shared out here. So its sums, its order and its figures are those of one rank.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tokenizers import Tokenizer

from clapas.engine.ranks import Ranks
from clapas.evaluate.continuations import Continuation, Scorer
from clapas.evaluate.load import LoadedModel
from clapas.evaluate.sampling import Sampling
from clapas.evaluate.stop_ids import own_chat, stop_ids
from clapas.evaluate.writer import Writer
from clapas.recipe.errors import UserError
from clapas_data.manifest import TokenizerRecord

MAX_NEW_TOKENS = 256

Messages = list[dict[str, str]]


class HarnessModel(TemplateLM):
    """The methods that tasks call.

    scorer: scores continuations. writer: generates; None where nobody can (a model that trains in parts).
    chat: makes a prompt of messages; None: there is no template. template: its text.
    cut: how many requests lost the beginning of their context, by kind: reported, never silent.
    """

    def __init__(
        self,
        scorer: Scorer,
        writer: Writer | None,
        tokenizer: Tokenizer,
        special: TokenizerRecord,
        *,
        chat: Callable[[Messages, bool], str] | None = None,
        template: str = "",
    ) -> None:
        super().__init__()
        self.scorer, self.writer, self.encoder, self.special = scorer, writer, tokenizer, special
        self.chat, self.template = chat, template
        self.cut: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()

    @property
    def device(self) -> torch.device:  # pyright: ignore[reportIncompatibleMethodOverride] the library's says None
        """Of the model."""
        return self.scorer.device

    @property
    def eot_token_id(self) -> int:
        """What ends a document."""
        return self.special.eos

    @property
    def prefix_token_id(self) -> int:
        """What stands before a document's first token as the model was trained: BOS where it used one, else EOS."""
        uses_bos = self.special.uses_bos and self.special.bos is not None
        return self.special.bos if uses_bos and self.special.bos is not None else self.special.eos

    @property
    def tokenizer_name(self) -> str:
        """Names cached requests; we cache none."""
        return self.special.hash

    def chat_template(self, chat_template: bool | str = False) -> str:
        """The template's text, which results record."""
        return self.template

    def apply_chat_template(self, chat_history: Messages, add_generation_prompt: bool = True) -> str:
        """Messages as the model was taught to see them. Raises UserError where the model has no template."""
        if self.chat is None:
            raise UserError("this model has no chat template", way_out="leave --chat out")
        return self.chat(chat_history, add_generation_prompt)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Tokens of a text, with BOS before it where the model was trained so and the text has none.

        What a chat template writes is all that the model was trained on: without a BOS of the template's there is none.
        """
        ids = self.encoder.encode(string, add_special_tokens=False).ids
        bos = self.special.bos
        is_whole = add_special_tokens is False or self.chat is not None or not self.special.uses_bos
        if is_whole or bos is None or ids[:1] == [bos]:
            return ids
        return [bos, *ids]

    def _loglikelihood_tokens(
        self, requests: list[tuple[tuple[str, str], list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        asked = [Continuation(tuple(context), tuple(tokens)) for _, context, tokens in requests]
        self._count("loglikelihood", [request.is_cut(self.scorer.longest) for request in asked])
        return [(found.log_likelihood, found.is_greedy) for found in self.scorer.score(asked)]

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """(log-likelihood in nats, whether greedy decoding gives it) of each continuation."""
        return super().loglikelihood(requests, disable_tqdm=True)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = True) -> list[float]:
        """The log-likelihood of whole texts, each token once, in windows as long as the model reads."""
        windows: list[Continuation] = []
        counts = []
        for request in requests:
            parts = get_rolling_token_windows(
                self.tok_encode(request.args[0]), self.prefix_token_id, self.scorer.longest, context_len=1
            )
            own = [Continuation(tuple(context), tuple(tokens)) for context, tokens in map(make_disjoint_window, parts)]
            windows += own
            counts.append(len(own))
        self._count("loglikelihood_rolling", [False] * len(requests))
        found = iter(self.scorer.score(windows))
        return [sum(next(found).log_likelihood for _ in range(count)) for count in counts]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """What the model writes after each context, until one of the task's strings."""
        if self.writer is None:
            raise UserError("a model in parts cannot generate here", way_out="`clapas eval` on a checkpoint")
        prompts: list[list[int]] = []
        by_options: dict[str, list[int]] = defaultdict(list)
        were_cut: list[bool] = []
        for place, request in enumerate(requests):
            context, asked = cast("tuple[str, dict[str, Any]]", request.args)
            options: dict[str, Any] = {**normalize_gen_kwargs(asked, MAX_NEW_TOKENS)}
            prompts.append(self.tok_encode(context) or [self.prefix_token_id])
            were_cut.append(len(prompts[-1]) > self.writer.room(options["max_gen_toks"]))
            by_options[json.dumps(options, sort_keys=True)].append(place)
        self._count("generate_until", were_cut)
        texts = [""] * len(requests)
        for said, places in by_options.items():
            options = json.loads(said)
            written = self.writer.write(
                [prompts[place] for place in places],
                max_new_tokens=options["max_gen_toks"],
                until=options["until"],
                sampling=_sampling(options),
            )
            for place, text in zip(places, written, strict=True):
                texts[place] = text
        return texts

    def _count(self, kind: str, were_cut: Sequence[bool]) -> None:
        self.requests[kind] += len(were_cut)
        self.cut[kind] += sum(were_cut)


def _sampling(options: dict[str, Any]) -> Sampling:
    if not options["do_sample"]:
        return Sampling(temperature=0)
    given = {name: options[name] for name in ("top_k", "top_p", "min_p") if name in options}
    return Sampling(temperature=float(options.get("temperature") or 1.0), **given)


def harness_model(loaded: LoadedModel, ranks: Ranks | None, *, seed: int = 0, chat: bool = False) -> HarnessModel:
    """A loaded model for the harness. Raises UserError where `chat` is asked for and there is no template."""
    scorer = Scorer(loaded.model, loaded.model.config.max_position_embeddings, loaded.device, ranks)
    if not chat:
        writer = Writer(loaded.model, loaded.tokenizer, loaded.special, ranks, seed, stop_ids(loaded))
        return HarnessModel(scorer, writer, loaded.tokenizer, loaded.special)
    talk = own_chat(loaded.tokenizer_folder)
    template = talk.template
    writer = Writer(loaded.model, loaded.tokenizer, loaded.special, ranks, seed, talk.stop_ids())

    def render(messages: Messages, add_generation_prompt: bool) -> str:
        return template.render(messages, add_generation_prompt=add_generation_prompt)

    return HarnessModel(scorer, writer, loaded.tokenizer, loaded.special, chat=render, template=template.text)
