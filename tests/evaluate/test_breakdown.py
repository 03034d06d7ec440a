"""Bits per byte by source and domain: each token once, where it lies, and parts that add up to the whole."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.evaluate.small import EOS, write_model

from clapas.evaluate.breakdown import NO_DOMAIN, By, Part, score_parts, whole_of
from clapas.evaluate.evaluate import evaluate, evaluation_table
from clapas.evaluate.load import LoadedModel, load
from clapas.loader.windows import Windows
from clapas.recipe.errors import UserError
from clapas_data.encode import open_tokenizer
from clapas_data.manifest import Manifest, ShardEntry, SourceRecord, open_manifest
from clapas_data.shards import ShardWriter

TEXTS = {
    "lois": "Article premier. La loi s'applique à tous. " * 9,
    "blog": "Salut, ça va ? " * 11,
    "débats": "Monsieur ! " * 7,
}
DOMAINS = {"lois": "law", "blog": None, "débats": "law"}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A small random model."""
    folder = tmp_path_factory.mktemp("breakdown") / "model"
    write_model(folder)
    return load(folder, device="cpu")


@pytest.fixture(scope="module")
def data(loaded: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sources of two domains, held out; some shards hold several documents."""
    folder = tmp_path_factory.mktemp("breakdown-data")
    entries = []
    for source, text in TEXTS.items():
        (folder / "heldout").mkdir(exist_ok=True)
        with ShardWriter(folder / "heldout" / f"{source}-00000", np.dtype(np.uint16)) as writer:
            documents = [text[: len(text) // 2], text[len(text) // 2 :]]
            for document in documents:
                writer.add(np.array([*loaded.tokenizer.encode(document, add_special_tokens=False).ids, EOS]))
            record = writer.close()
        size = sum(len(document.encode()) for document in documents)
        entries.append(ShardEntry.of(record, folder="heldout", split="heldout", source=source, text_bytes=size))
    sources = {source: SourceRecord(licence="CC0-1.0", domain=DOMAINS[source]) for source in TEXTS}
    tokenizer = open_tokenizer(loaded.tokenizer_folder).record
    Manifest(name="parts", tokenizer=tokenizer, dtype="uint16", sources=sources, shards=tuple(entries)).write(folder)
    return folder


def parts_of(loaded: LoadedModel, data: Path, by: By | None, rank: int = 0, world: int = 1) -> list[Part]:
    """Windows of 32 tokens, of which 12 are new."""
    windows = Windows(open_manifest(data), sequence_length=32, stride=12, batch_size=3, rank=rank, world=world)
    return score_parts(loaded.model, windows, "heldout", by)


@torch.no_grad()
def test_each_token_counts_where_it_lies(loaded: LoadedModel, data: Path) -> None:
    """Token by token from the logits, its source found by counting: what each part sums up."""
    manifest = open_manifest(data)
    tokens, sources = [EOS], [""]
    for shard in manifest.shards:
        bin_file = np.fromfile(data / f"{shard.path}.bin", np.uint16)
        tokens += bin_file.tolist()
        sources += [shard.source] * len(bin_file)
    expected = dict.fromkeys(TEXTS, 0.0)
    for target in range(1, len(tokens)):
        window = 0 if target <= 32 else -(-(target - 32) // 12)
        start = 12 * window
        log_p_V = loaded.model(torch.tensor([tokens[start:target]]))[0, -1].log_softmax(-1)
        expected[sources[target]] -= float(log_p_V[tokens[target]])
    found = {part.name: part for part in parts_of(loaded, data, "source")}
    assert list(found) == list(TEXTS)
    for source, part in found.items():
        assert part.loss_sum == pytest.approx(expected[source], rel=1e-5)
        assert part.tokens == sources.count(source)
        assert part.bytes == len(TEXTS[source].encode())


def test_parts_add_up(loaded: LoadedModel, data: Path) -> None:
    """By source, by domain, by rank: the same whole."""
    (whole,) = parts_of(loaded, data, None)
    for by in ("source", "domain"):
        summed = whole_of(parts_of(loaded, data, by))
        assert (summed.tokens, summed.bytes) == (whole.tokens, whole.bytes)
        assert summed.loss_sum == pytest.approx(whole.loss_sum, rel=1e-6)
    assert {part.name for part in parts_of(loaded, data, "domain")} == {"law", NO_DOMAIN}
    ranks = [parts_of(loaded, data, "source", rank, 3) for rank in range(3)]
    for alone, *own in zip(parts_of(loaded, data, "source"), *ranks, strict=True):
        assert sum(part.tokens for part in own) == alone.tokens
        assert sum(part.loss_sum for part in own) == pytest.approx(alone.loss_sum, rel=1e-5)


def test_the_table_has_the_parts_and_the_whole(loaded: LoadedModel, data: Path) -> None:
    """`--by domain`: figures of each, and of all together."""
    measured = evaluate(loaded, data=data, by="domain")
    assert measured["bits_per_byte"] == pytest.approx(
        sum(row["loss"] * row["tokens"] for row in measured["parts"]) / math.log(2) / measured["bytes"]
    )
    table = evaluation_table(measured)
    assert all(name in table for name in ("law", NO_DOMAIN, "perplexity"))
    assert table.splitlines()[-1].startswith("all")


def test_examples_have_loss_and_accuracy(loaded: LoadedModel, tmp_path: Path) -> None:
    """Held-out conversations: what is learned is scored, by the assistant's turn; text's parts are refused."""
    from tests.tune.examples import write_folder

    texts = [(("Qui ?", "Le juge."),), (("Quand ?", "Demain matin."),), (("Où ?", "À la mairie, " * 9),)]
    write_folder(tmp_path / "chats", loaded.tokenizer_folder, [*texts, *texts], held_out=3)
    measured = evaluate(loaded, data=tmp_path / "chats")
    manifest = open_manifest(tmp_path / "chats")
    shard = next(shard for shard in manifest.shards if shard.split == "heldout")
    assert shard.targets is not None
    learned = np.fromfile(tmp_path / "chats" / f"{shard.targets.path}.bin", np.uint8).astype(bool)
    tokens = torch.from_numpy(np.fromfile(tmp_path / "chats" / f"{shard.path}.bin", np.uint16).astype(np.int64))
    losses, hits = [], []
    for document, own in zip(_documents(tokens, EOS), _split_like(learned, tokens, EOS), strict=True):
        if len(document) > 97:
            continue  # longer than the model: left out, and told
        with torch.no_grad():
            logits = loaded.model(document[None, :-1])[0]
        for place in np.flatnonzero(own[1:]):
            losses.append(float(torch.nn.functional.cross_entropy(logits[place], document[place + 1])))
            hits.append(int(logits[place].argmax()) == int(document[place + 1]))
    assert measured["tokens"] == len(losses)
    assert measured["loss"] == pytest.approx(float(np.mean(losses)), rel=1e-5)
    assert measured["token_accuracy"] == pytest.approx(float(np.mean(hits)))
    assert measured["left_out"] == {"dropped": 1, "truncated": 0}
    assert list(measured["turns"]) == ["1"]
    assert "token accuracy" in evaluation_table(measured)
    with pytest.raises(UserError, match="leave --by out"):
        evaluate(loaded, data=tmp_path / "chats", by="source")


def _documents(tokens: torch.Tensor, eos: int) -> list[torch.Tensor]:
    ends = (tokens == eos).nonzero().flatten() + 1
    return list(tokens.tensor_split(ends[:-1]))


def _split_like(values: np.ndarray, tokens: torch.Tensor, eos: int) -> list[np.ndarray]:
    ends = (tokens == eos).nonzero().flatten().numpy() + 1
    return np.split(values, ends[:-1])
