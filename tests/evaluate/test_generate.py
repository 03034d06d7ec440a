"""Generation: transformers' tokens under greedy decoding, neighbours and cache without effect, seeds that hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
import transformers
from tests.evaluate.small import CONFIG, EOS, write_model

from clapas.evaluate.generate import complete, decoded, generate_to_stdout, stream_text, stream_tokens
from clapas.evaluate.load import load
from clapas.evaluate.sampling import Sampling
from clapas.model.decoder import CausalLM
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


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy_is_transformers_greedy(folder: Path, model: CausalLM, penalty: float) -> None:
    """Token for token what `model.generate(do_sample=False)` gives, with a repetition penalty too."""
    theirs = cast(Any, transformers.LlamaForCausalLM.from_pretrained(folder))
    for prompt in PROMPTS:
        want = theirs.generate(
            torch.tensor([prompt]), do_sample=False, max_new_tokens=30, max_length=None, repetition_penalty=penalty
        )[0, len(prompt) :].tolist()
        sampling = Sampling(temperature=0, repetition_penalty=penalty)
        found = continuations(model, [prompt], eos=EOS, sampling=sampling)[0]
        assert found == (want[: want.index(EOS)] if EOS in want else want)
        assert len(set(found)) > 3  # a text that says something


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


def test_text_comes_in_whole_characters(folder: Path) -> None:
    """Of a tokenizer of single bytes, a character of several bytes comes at once, when it is whole; nothing is lost."""
    tokenizer = load(folder).tokenizer
    text = "« L'œuvre », dès l’été : 10\u202f€ 🙂"
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert len(ids) == len(text.encode())
    assert list(decoded(tokenizer, [72], ids)) == list(text)


def test_streamed_text_is_the_text(folder: Path) -> None:
    """Streaming gives what decoding all at once gives, but for a last character that was cut off."""
    loaded = load(folder)
    streamed = "".join(stream_text(loaded, "Le", max_new_tokens=30, sampling=GREEDY))
    whole = complete(loaded, ["Le"], max_new_tokens=30, sampling=GREEDY)[0]
    assert streamed
    assert whole.rstrip("\ufffd") == streamed.rstrip("\ufffd")


def test_printing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each prompt with what follows, on stdout; a refused prompt prints nothing there."""
    generate_to_stdout(folder, ["Bonjour", "L'été"], max_new_tokens=5, sampling=GREEDY)
    out = capsys.readouterr().out
    assert "Bonjour" in out
    assert "L'été" in out
    with pytest.raises(UserError, match="the prompt is empty"):
        generate_to_stdout(folder, [""])
    assert capsys.readouterr().out == ""
