"""The n-gram model: chances that sum to one, a file refused when it is damaged, and French told from rubbish."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from clapas.cli import run
from clapas.recipe.errors import UserError
from clapas_data.chunks import find_chunk
from clapas_data.corpus import read_corpus
from clapas_data.perplexity import train_perplexity
from clapas_data.pipeline import run_steps
from clapas_data.steps.perplexity import Perplexity
from clapas_data.text.batch import TextBatch
from clapas_data.text.ngram_counts import POSSIBLE_WORDS, Counter
from clapas_data.text.ngram_model import NgramModel, read_model


def batch_of(*texts: str) -> TextBatch:
    return TextBatch(texts, ids=[str(place) for place in range(len(texts))])


def model_of(*batches: TextBatch, order: int = 3, **options: int) -> NgramModel:
    counter = Counter(order, **options)
    for batch in batches:
        counter.add(batch)
    return counter.model("essai", "0")


@pytest.mark.parametrize("most", [2**20, 40])
def test_chances_sum_to_one(most: int) -> None:
    """Of all words after a known, a half known and an unknown context; also where the rarest n-grams were let go."""
    rng = random.Random(0)
    vocabulary = [f"mot{chr(97 + number)}" for number in range(20)]
    texts = [" ".join(rng.choices(vocabulary, range(1, 21), k=30)) for _ in range(10)]
    model = model_of(batch_of(*texts), most=most)
    for context in (" ".join(texts[0].split()[:2]), f"jamais {vocabulary[19]}", "jamais vu", ""):
        every = batch_of(*(f"{context} {word}" for word in [*vocabulary, "inconnu"]))
        chances = np.exp(model.log_probabilities(every)[every.words.bounds[1:] - 1].astype(np.float64))
        assert chances[:-1].sum() + chances[-1] * (POSSIBLE_WORDS - len(vocabulary)) == pytest.approx(1, abs=0.01)


def test_neither_batches_nor_neighbours_matter(guides: list[str]) -> None:
    """A document's perplexity is its own, to the last bit; numbers are one word, case is nothing."""
    model = model_of(batch_of(*guides[:20]), batch_of(*guides[20:40]))
    same = model_of(batch_of(*guides[:40]))
    assert all((one.slots == other.slots).all() for one, other in zip(model.tables, same.tables, strict=True))
    whole = model.perplexity(batch_of(*guides[40:60], "", "!"))
    alone = [float(model.perplexity(batch_of(text))[0]) for text in guides[40:60]]
    assert whole.tolist() == [*alone, np.inf, np.inf]
    first, second = model.perplexity(batch_of("Article L1234-5 du code", "ARTICLE l1234-99 DU CODE"))
    assert first == second


@pytest.fixture(scope="module")
def trained(guides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the guides, written by the command; corpus.yaml beside it asks for the model already."""
    folder = tmp_path_factory.mktemp("perplexity")
    (folder / "guides.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in guides))
    (folder / "corpus.yaml").write_text(
        "name: guides\nsources:\n  guides: {files: elsewhere.jsonl, licence: x, steps: {perplexity: {most: 9}}}\n"
        "steps: [repair, perplexity: {model: guides.ngrams, keep: [head]}]\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLAPAS_CACHE", str(folder / "cache"))
        command = ["data", "perplexity", str(folder / "corpus.yaml"), "sources.guides.files=guides.jsonl"]
        command += ["--source", "guides", "--workers", "1"]
        assert run([*command, "--out", str(folder / "new" / "guides.ngrams")]) == 0  # a folder that is not there yet
    (folder / "new" / "guides.ngrams").rename(folder / "guides.ngrams")
    return folder / "guides.ngrams"


def test_personal_data_are_in_neither_model_nor_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the corpus replaces them only after the step that asks for the model."""
    monkeypatch.setenv("CLAPAS_CACHE", str(tmp_path / "cache"))
    texts = [f"Au mot {number} appelez le 06 12 34 56 78 pour un autre mot." for number in range(60)]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    (tmp_path / "corpus.yaml").write_text(
        "name: made\nsources:\n  a: {files: a.jsonl, licence: x, contains: [personal]}\n"
        "steps: [perplexity: {model: a.ngrams}, personal]\n"
    )
    train_perplexity(tmp_path / "corpus.yaml", source="a", out=tmp_path / "a.ngrams", workers=1)
    (path,) = (tmp_path / "cache" / "prepared").rglob("*.arrow")
    chunk = find_chunk(path)
    assert chunk is not None
    kept = [text for batch in chunk.batches("text") for text in batch.column("text").to_pylist()]
    assert kept == [text.replace("06 12 34 56 78", "<TÉLÉPHONE>") for text in texts]


def test_french_is_told_from_rubbish(trained: Path, guides: list[str]) -> None:
    """Words in no order, garbled letters and English are far in the tail; the reference's own kind is not."""
    rng = random.Random(0)
    good = guides[:60]
    shuffled = [" ".join(rng.sample(words, len(words))) for words in map(str.split, good)]
    garbled = [re_typed(text, rng) for text in good]
    english = ["The employee may ask the court to review the decision of the employer within two months."] * 5
    step = Perplexity(model=trained, keep=("head", "middle"), cuts=(0.5, 0.99))
    passed = run_steps([step], batch_of(*good, *shuffled, *garbled, *english))
    kept = passed.kept.tolist()
    assert sum(place < 60 for place in kept) >= 58
    assert not [place for place in kept if place >= 60]
    assert passed.counts[0].reasons["tail"] == len(good) * 3 + 5 - len(kept)
    assert len(passed.scores["perplexity"]) == len(kept)
    own, others = (np.median(step(batch_of(*texts)).scores["perplexity"]) for texts in (good, shuffled))
    assert others > 20 * own
    assert run_steps([Perplexity(model=trained, most=float(own))], batch_of(*good)).counts[0].reasons["over_most"] == 30


def re_typed(text: str, rng: random.Random) -> str:
    """A text with 15 % of its letters mistaken, as by bad OCR."""
    return "".join(rng.choice("abcdefghij") if sign.isalpha() and rng.random() < 0.15 else sign for sign in text)


def test_the_file(trained: Path, tmp_path: Path) -> None:
    """Its header says what it is; another that is damaged, cut short or missing is refused, with the way to make it."""
    header = read_model(trained).header
    assert header.origin == "guides, source guides"
    assert 200 < header.documents < 260  # a tenth is calibrated on
    assert len(header.percentiles) == 101
    assert list(header.percentiles) == sorted(header.percentiles)
    content = trained.read_bytes()
    for name, bad in {"cut": content[:-8], "other": b"CLAPASNG" + b"\xff" * 100, "text": b"rien"}.items():
        (tmp_path / name).write_bytes(bad)
        with pytest.raises(UserError, match=r"n-gram model(.|\n)*clapas data perplexity"):
            Perplexity(model=tmp_path / name).identity()
    with pytest.raises(UserError, match="no such n-gram model"):
        Perplexity(model=tmp_path / "none")(batch_of("a"))
    (tmp_path / "copy").write_bytes(content)
    assert Perplexity(model=tmp_path / "copy").identity() == Perplexity(model=trained).identity()


def test_what_cannot_be_trained(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown sources, orders that are not kept, and sources with too little text are told; nothing is written."""
    monkeypatch.setenv("CLAPAS_CACHE", str(tmp_path / "cache"))
    corpus, out = trained.with_name("corpus.yaml"), tmp_path / "out"
    with pytest.raises(UserError, match="has no source wiki"):
        train_perplexity(corpus, source="wiki", out=out)
    with pytest.raises(UserError, match="2 to 5 words"):
        train_perplexity(corpus, source="guides", out=out, order=6)
    (tmp_path / "one.jsonl").write_text('{"text": "Un seul document."}')
    (tmp_path / "one.yaml").write_text("name: one\nsources:\n  one: {files: one.jsonl, licence: x}\n")
    assert read_corpus(tmp_path / "one.yaml").sources
    with pytest.raises(UserError, match="no document to calibrate on"):
        train_perplexity(tmp_path / "one.yaml", source="one", out=out, workers=1)
    assert not out.exists()
