"""Generation: transformers' tokens under greedy decoding, neighbours and cache without effect, seeds that hold."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import transformers
from tests.evaluate.small import CONFIG, EOS, PAD, write_model

from clapas.evaluate.generate import stream_tokens
from clapas.evaluate.load import load
from clapas.evaluate.sampling import Sampling
from clapas.model.config import ModelConfig
from clapas.model.decoder import CausalLM
from clapas.model.init import initialise
from clapas.model.layout import lay_out
from clapas.recipe.errors import UserError

GREEDY = Sampling(temperature=0)
PROMPTS = [[72, 101], [5], [10, 20, 30, 40, 50, 60, 70, 80, 90], [1, 2, 3]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder."""
    path = tmp_path_factory.mktemp("model")
    write_model(path)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> CausalLM:
    """Its model."""
    return load(folder).model


def continuations(model: CausalLM, prompts: list[list[int]], **options: Any) -> list[list[int]]:
    """All tokens of each text after its prompt."""
    texts: list[list[int]] = [[] for _ in prompts]
    for tokens in stream_tokens(model, prompts, **{"max_new_tokens": 30, "sampling": GREEDY, **options}):
        for text, token in zip(texts, tokens, strict=True):
            text += [] if token is None else [token]
    return texts


ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama, tied": {"tie_word_embeddings": True, "initializer_range": 0.5},
    "qwen2": {"architecture": "qwen2", "rms_norm_eps": 1e-6},
    "qwen3": {"architecture": "qwen3", "head_dim": 16},
    "qwen3_moe": {"architecture": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
}
RAGGED = [*PROMPTS, [200, 100] * 6, [7], [33, 44, 55, 66], [120] * 3 + [121]]


@pytest.mark.parametrize("penalty", [1.0, 1.3])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_is_transformers_greedy(tmp_path: Path, architecture: str, penalty: float) -> None:
    """Token for token what `generate(do_sample=False)` gives, of one text and of eight, padded on the left."""
    changes = ARCHITECTURES[architecture]
    write_model(tmp_path, ModelConfig.model_validate({**CONFIG.model_dump(exclude_defaults=True), **changes}))
    theirs = cast(Any, transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32))
    sampling = Sampling(temperature=0, repetition_penalty=penalty)
    ours = load(tmp_path).model
    for prompts in ([RAGGED[0]], RAGGED):
        longest = max(map(len, prompts))
        tokens_BS = torch.tensor([[PAD] * (longest - len(prompt)) + prompt for prompt in prompts])
        mask_BS = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        chosen = {"do_sample": False, "max_new_tokens": 30, "max_length": None, "repetition_penalty": penalty}
        rows = theirs.generate(tokens_BS, attention_mask=mask_BS, **chosen)[:, longest:].tolist()
        want = [row[: row.index(EOS)] if EOS in row else row for row in rows]
        assert continuations(ours, prompts, eos=EOS, sampling=sampling) == want
        lay_out(ours, len(prompts))
        assert continuations(ours, prompts, eos=EOS, sampling=sampling) == want
        assert len({token for text in want for token in text}) > 3  # texts that say something


@pytest.mark.parametrize("hidden_size", [64, 512])
@pytest.mark.parametrize("texts", [1, 8])
def test_a_layout_changes_no_weight(hidden_size: int, texts: int) -> None:
    """Names, shapes and values of the parameters stay, of every architecture; the logits are as exact."""
    for changes in ARCHITECTURES.values():
        config = {**CONFIG.model_dump(exclude_defaults=True), "hidden_size": hidden_size, "head_dim": 16, **changes}
        model = CausalLM(ModelConfig.model_validate(config)).eval()
        initialise(model, 1)  # memory that nobody wrote to may hold NaN, which equals nothing
        before = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
        tokens_BS = torch.arange(8).view(2, 4)  # eight rows, as a step of eight texts has
        with torch.no_grad():
            exact = deepcopy(model).double()(tokens_BS)
            error = (model(tokens_BS) - exact).abs().max()
            lay_out(model, texts)
            assert (model(tokens_BS) - exact).abs().max() <= 4 * error
        after = dict(model.named_parameters())
        assert before.keys() == after.keys()
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_texts_that_end_leave_and_the_others_stay_as_they_are(model: CausalLM) -> None:
    """With a limit, a stop id and a caller's wish for some, each text is the beginning of what it is alone."""
    alone = [continuations(model, [prompt])[0] for prompt in RAGGED]
    limits = [1, 2, 3, 30, 30, 30, 30, 30]
    found = continuations(model, RAGGED, max_new_tokens=limits, eos=alone[4][5], is_over=lambda row: row == 5)
    for row, (text, whole) in enumerate(zip(found, alone, strict=True)):
        length = 1 if row == 5 else limits[row]
        until_stop = whole.index(alone[4][5]) if alone[4][5] in whole else 30
        assert text == whole[: min(length, until_stop)]


def test_ranks_that_share_weights_call_equally_often(model: CausalLM) -> None:
    """While another rank goes on, a rank whose texts have ended computes on, and gives nothing."""
    alone = continuations(model, [PROMPTS[0]])[0]
    asked: list[bool] = []

    def goes_on(here: bool) -> bool:
        asked.append(here)
        return len(asked) < 10

    steps = list(stream_tokens(model, [PROMPTS[0]], max_new_tokens=30, sampling=GREEDY, eos=alone[3], goes_on=goes_on))
    assert asked == [step < alone.index(alone[3]) for step in range(10)]
    assert [token for (token,) in steps if token is not None] == alone[: alone.index(alone[3])]


def test_an_observer_sees_every_text_at_every_step(model: CausalLM) -> None:
    """Rows stay where the prompts are, also once some have left; what was chosen is the likeliest of the logits."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    found = continuations(model, RAGGED, max_new_tokens=[3] * 7 + [9], observe=lambda *step: seen.append(step))
    assert [(len(logits_BV), len(chosen_B)) for logits_BV, chosen_B in seen] == [(8, 8)] * 9
    assert [int(chosen_B[7]) for _, chosen_B in seen] == found[7]
    assert all(int(logits_BV[7].argmax()) == int(chosen_B[7]) for logits_BV, chosen_B in seen)


def test_a_text_has_a_seed_of_its_own(model: CausalLM) -> None:
    """Given seeds one a text, a text is the same beside any neighbours and at any place."""
    sampling = Sampling(temperature=1.0)
    two = continuations(model, PROMPTS[:2], sampling=sampling, seeds=[5, 9])
    assert continuations(model, PROMPTS[1::-1], sampling=sampling, seeds=[9, 5]) == two[::-1]
    assert two[0] != continuations(model, PROMPTS[:1], sampling=sampling, seeds=[6])[0]


def test_layers_compiled_for_training_are_left_alone(model: CausalLM) -> None:
    """What calls the layers in training is not called here, and is back afterwards."""
    before = model.model.run_layer

    def of_training(*_: Any) -> Any:
        raise AssertionError

    model.model.run_layer = of_training
    try:
        assert continuations(model, PROMPTS[:1])[0]
        assert model.model.run_layer is of_training
    finally:
        model.model.run_layer = before


def test_a_batch_is_its_texts_alone(model: CausalLM) -> None:
    """Prompts of different lengths go on together as each would by itself."""
    assert continuations(model, PROMPTS) == [continuations(model, [prompt])[0] for prompt in PROMPTS]


def test_the_cache_gives_the_tokens_of_reading_everything_again(model: CausalLM) -> None:
    """Each token is the likeliest one after the whole text so far, read without a cache."""
    text = list(PROMPTS[2])
    with torch.no_grad():
        for _ in range(30):
            text.append(int(model(torch.tensor([text]))[0, -1].argmax()))
    assert continuations(model, [PROMPTS[2]])[0] == text[len(PROMPTS[2]) :]


def test_a_text_ends_at_eos_and_its_neighbours_go_on(model: CausalLM) -> None:
    """EOS is not part of the text; the others are as they were."""
    free = continuations(model, PROMPTS)
    eos = free[0][4]
    ended = continuations(model, PROMPTS, eos=eos)
    assert ended == [text[: text.index(eos)] if eos in text else text for text in free]
    assert len(ended[0]) <= 4 < max(map(len, ended))


def test_a_seed_gives_the_same_text_again(model: CausalLM) -> None:
    """Sampling depends on the seed, not on what was drawn before; another seed draws another text."""
    sampling = Sampling(temperature=1.0)
    first = continuations(model, PROMPTS, sampling=sampling, seed=3)
    torch.rand(5)
    assert continuations(model, PROMPTS, sampling=sampling, seed=3) == first
    assert continuations(model, PROMPTS, sampling=sampling, seed=4) != first


def test_ids_beyond_the_tokenizer_are_never_drawn(model: CausalLM) -> None:
    """A model padded to more ids than its tokenizer has stays within the tokenizer's."""
    texts = continuations(model, PROMPTS, sampling=Sampling(temperature=5.0), vocabulary=40)
    assert max(max(text) for text in texts) < 40


def test_generation_stops_where_the_positions_end(model: CausalLM) -> None:
    """The longest text fills all positions, and no more."""
    assert len(continuations(model, [[7] * 90], max_new_tokens=1000)[0]) == CONFIG.max_position_embeddings - 90


def test_a_long_neighbour_takes_no_room(model: CausalLM) -> None:
    """A short text goes on to the end of its own positions beside one that soon has none left."""
    alone = continuations(model, [[7, 8]], max_new_tokens=1000)[0]
    beside, full = continuations(model, [[7, 8], [7] * 90], max_new_tokens=1000)
    assert len(alone) == CONFIG.max_position_embeddings - 2
    assert (beside, len(full)) == (alone, CONFIG.max_position_embeddings - 90)


@pytest.mark.parametrize("filters", [{"top_k": 5}, {"top_p": 0.4}, {"min_p": 0.3}, {"top_k": 9, "top_p": 0.7}])
def test_filters_keep_what_transformers_keeps(filters: dict[str, Any]) -> None:
    """Every token drawn in 500 draws is one that transformers' own filters leave in, and all likely ones are drawn."""
    logits_BV = 2 * torch.randn(1, 50, generator=torch.Generator().manual_seed(0))
    kept_BV = logits_BV / 0.9
    if "top_k" in filters:
        kept_BV = transformers.TopKLogitsWarper(filters["top_k"])(cast(Any, None), cast(Any, kept_BV))
    if "top_p" in filters:
        kept_BV = transformers.TopPLogitsWarper(filters["top_p"])(cast(Any, None), kept_BV)
    if "min_p" in filters:
        kept_BV = transformers.MinPLogitsWarper(filters["min_p"])(cast(Any, None), kept_BV)
    sampling, generator = Sampling(temperature=0.9, **filters), torch.Generator().manual_seed(1)
    seen_BV = torch.zeros(1, 50, dtype=torch.bool)
    drawn = {int(sampling.choose(logits_BV, seen_BV, [generator])) for _ in range(500)}
    p_V = kept_BV[0].softmax(-1)
    assert {n for n in range(50) if p_V[n] > 0.03} <= drawn <= {n for n in range(50) if p_V[n] > 0}


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": 0},
        {"top_p": 1.1},
        {"min_p": 2},
        {"repetition_penalty": 0},
    ],
)
def test_a_value_without_meaning_is_refused(wrong: dict[str, float]) -> None:
    """The message names the setting and what is allowed."""
    with pytest.raises(UserError, match=next(iter(wrong))) as caught:
        Sampling(**cast(Any, wrong))
    assert caught.value.wanted


@pytest.mark.parametrize("prompts", [[], [[]], [[1], []], [[999]], [[-1]], [[0] * 96]])
def test_prompts_that_cannot_be_gone_on_with(model: CausalLM, prompts: list[list[int]]) -> None:
    """Empty, unknown to the model, or as long as all its positions."""
    with pytest.raises(UserError, match="prompt"):
        continuations(model, prompts)
