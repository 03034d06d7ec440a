"""The real llama.cpp reads our GGUF: the same logits, the same next tokens, the same ids for hard French text.

It is built by `make llama-cpp`; where it is missing these tests are skipped, in CI they fail.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.release.gguf.small import MODELS, config_of, write_folder, write_small_tokenizer

from clapas.evaluate.load import load, read_tokenizer
from clapas.model.decoder import CausalLM
from clapas.release.export import export
from clapas.release.gguf.about import about_export
from clapas.release.gguf.write import write_ggufs
from clapas_data.tokenizer.train import train

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("llama_cpp") is None and os.environ.get("CI") != "true", reason="no llama.cpp here: make llama-cpp"
    ),
]
FP32 = 0
"""GGML's number of the type in which llama.cpp is to keep keys and values, by default in fp16."""


@contextmanager
def opened(folder: Path, quantisation: str) -> Iterator[Any]:
    """llama.cpp with the GGUF of a Hugging Face folder, on one thread."""
    import llama_cpp

    (file,) = write_ggufs(folder, (quantisation,), about_export("model"))
    options: dict[str, Any] = {"n_ctx": 128, "n_batch": 128, "n_threads": 1, "n_threads_batch": 1, "verbose": False}
    model = llama_cpp.Llama(str(file), logits_all=True, type_k=FP32, type_v=FP32, **options)
    try:
        yield model
    finally:
        model.close()


def logits(model: Any, tokens: list[int]) -> np.ndarray:
    """(tokens, vocabulary), as llama.cpp computes them."""
    model.reset()
    model.eval(tokens)
    return np.array(model.scores[: len(tokens)])


@torch.no_grad()
def our_logits(model: CausalLM, tokens: list[int]) -> np.ndarray:
    """The same by our decoder in fp32."""
    return model(torch.tensor([tokens]))[0].numpy()


def greedy(model: CausalLM, tokens: list[int], number: int) -> list[int]:
    """The tokens that go on, each the likeliest."""
    said = list(tokens)
    for _ in range(number):
        said.append(int(our_logits(model, said)[-1].argmax()))
    return said[len(tokens) :]


def some_tokens(rows: int, length: int) -> list[int]:
    """Random ids of plain tokens."""
    return np.random.default_rng(3).integers(0, rows, length).tolist()


@pytest.mark.parametrize("model", MODELS)
def test_logits_and_next_tokens(model: str, tmp_path: Path) -> None:
    """In f32, at all 128 positions; the likeliest 20 tokens that go on from a text.

    Found: 4e-5 apart at most, by YaRN, of logits whose standard deviation is 1.2.
    """
    write_small_tokenizer(tmp_path / "tokenizer")
    ours = write_folder(tmp_path / "model", config_of(model), tmp_path / "tokenizer")
    tokens = some_tokens(256, 128)
    with opened(tmp_path / "model", "f32") as theirs:
        expected = our_logits(ours, tokens)
        assert np.abs(logits(theirs, tokens) - expected).max() < 2e-4
        said = theirs.generate(tokens[:40], temp=0.0, reset=True)
        assert [next(said) for _ in range(20)] == greedy(ours, tokens[:40], 20)


def test_a_trained_run(trained_run: Path, tmp_path: Path) -> None:
    """Exported in bf16: f32 computes our logits of these weights; the others stray, each within its own limits.

    Found: 1e-6, 2e-3, 7e-3 and 9e-3 apart, of logits whose standard deviation is 0.8.
    """
    folder = export(trained_run, tmp_path / "model")
    ours = load(folder, device="cpu")
    tokens = ours.tokenizer.encode("Le salarié a droit à un congé de naissance de trois jours. " * 6).ids[:128]
    expected = our_logits(ours.model, tokens)
    for quantisation, most in (("f32", 2e-4), ("bf16", 0.01), ("q8_0", 0.03), ("q4_0", 0.05)):
        with opened(folder, quantisation) as theirs:
            assert np.abs(logits(theirs, tokens) - expected).max() < most, quantisation


HARD = (
    "L'œuvre d'un cœur : « Qu'est-ce que c'est\u00a0? » demanda-t-elle\u202f; «\u00a0Rien\u00a0!\u00a0»",
    "aujourd'hui, l’État, jusqu'au 1er janvier, S'IL, L'AN 2000, D'ALEMBERT, I'll, they'VE, c'T",
    "12\u202f345,67\u00a0€ – n°\u00a042, art.\u00a0L.\u00a01221-1, 1234567 3.14 00 50\u00a0%… ½ × ±",
    bytes(range(0xA0, 0x100)).decode("latin-1"),
    "".join(map(chr, range(0x20, 0x7F))),
    "\tligne\n\n  deux lignes\r\n fin   \n \n x\n\n\n",
    "🙂👩\u200d🔬🇫🇷 中文字 العربية हिन्दी ελληνικά e\u0301 ﬁ ß \u3000x\u00adY",
    "def f(x):\n    return {'a': x**2}  # ça va\n\\frac{1}{2}\\alpha",
    "<|end_of_text|> <|eot_id|> écrits en lettres",
    " ",
    "\n",
    "a",
)


@pytest.mark.parametrize("split", ["llama3", "qwen2"])
def test_the_ids_of_hard_text(split: Any, test_data: Path, tmp_path: Path) -> None:
    """Of 2,048 ids learned from real French: each text has the ids of `tokenizers`, and comes back whole."""
    folder = test_data / "tokenizer"
    if split != "llama3":
        train("test", 2048, folder := tmp_path / "tokenizer", split=split)
    write_folder(tmp_path / "model", config_of("llama", vocab_size=2048), folder)
    tokenizer = read_tokenizer(folder)
    tokenizer.encode_special_tokens = True  # letters that spell a special token are letters
    with opened(tmp_path / "model", "q8_0") as model:
        for text in HARD:
            ids = model.tokenize(text.encode(), add_bos=True, special=False)  # as the file says: none
            assert ids == tokenizer.encode(text, add_special_tokens=False).ids, text
            assert model.detokenize(ids, special=True) == text.encode(), text


def test_special_tokens_and_the_end_of_a_turn(tmp_path: Path) -> None:
    """They are read as themselves where asked for, and both EOS and the end of a turn end what it says."""
    import llama_cpp

    write_small_tokenizer(tmp_path / "tokenizer", template="clapas")
    write_folder(tmp_path / "model", config_of("qwen2"), tmp_path / "tokenizer")
    ids = read_tokenizer(tmp_path / "tokenizer").get_vocab(with_added_tokens=True)
    turn, end = ids["<|eot_id|>"], ids["<|end_of_text|>"]
    with opened(tmp_path / "model", "f32") as model:
        assert model.tokenize(b"<|eot_id|><|end_of_text|>", add_bos=False, special=True) == [turn, end]
        assert model.token_eos() == end
        vocabulary: Any = llama_cpp.llama_model_get_vocab(model.model)
        ending = [number for number in range(544) if llama_cpp.llama_vocab_is_eog(vocabulary, number)]
        assert ending == [end, turn]
        assert not llama_cpp.llama_vocab_get_add_bos(vocabulary)
        said = model.metadata["tokenizer.chat_template"]
        assert said == (tmp_path / "model/chat_template.jinja").read_text(encoding="utf-8")
