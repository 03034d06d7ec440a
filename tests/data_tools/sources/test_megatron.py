"""Bare Megatron shards as a source: back to the text that was encoded; a wrong tokenizer is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source, read_corpus
from clapas_data.shards import ShardWriter
from clapas_data.sources import megatron, source_identity, source_parts
from reading import documents

TEXTS = ["L'été à la mer.", "", "Un second document, plus long : cœur, naïveté."]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two bare shards of three documents each, EOS at their ends, and the tokenizer that made them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<|eos|>"], initial_alphabet=alphabet)  # pyright: ignore[reportCallIssue]
    tokenizer.train_from_iterator(TEXTS, trainer)
    (tmp_path / "tokenizer").mkdir()
    tokenizer.save(str(tmp_path / "tokenizer" / "tokenizer.json"))
    for name in ("a_text_document", "b_text_document"):
        with ShardWriter(tmp_path / name, np.dtype("uint16")) as writer:
            for text in TEXTS:
                writer.add(np.array([*tokenizer.encode(text).ids, 0]))
        (tmp_path / f"{name}.crc").unlink()
    return tmp_path


def source_of(folder: Path) -> Source:
    return Source(megatron=str(folder / "*_document"), tokenizer=folder / "tokenizer")


def test_text_comes_back(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without EOS, in order, whatever the cut; each document knows its shard and number."""
    found = documents(source_of(shards))
    assert [d.text for d in found] == TEXTS * 2
    assert [d.id for d in found] == [f"{name}_text_document#{n}" for name in "ab" for n in range(3)]
    monkeypatch.setattr(megatron, "PART_BYTES", 1)
    assert len(source_parts("a", source_of(shards))) == 6
    assert documents(source_of(shards)) == found


def test_shards_of_two_folders_are_told_apart(shards: Path) -> None:
    """Their files may have the same name: ids begin with the folder, as those of other files do."""
    for name in "ab":
        (shards / name).mkdir()
        for ending in (".bin", ".idx"):
            (shards / f"{name}_text_document{ending}").rename(shards / name / f"shard{ending}")
    found = documents(Source(megatron=str(shards / "*" / "shard"), tokenizer=shards / "tokenizer"))
    assert [d.id for d in found] == [f"{name}/shard#{n}" for name in "ab" for n in range(3)]


def test_its_licence_is_unknown(shards: Path) -> None:
    """Where the corpus file does not say; then a release refuses it. Others must say."""
    path = shards / "made.yaml"
    path.write_text("name: made\nsources:\n  a:\n    megatron: a_text_document\n    tokenizer: tokenizer\n")
    source = read_corpus(path).sources["a"]
    assert source.licence == "unknown"
    assert len(documents(source)) == 3
    path.write_text("name: made\nsources:\n  a:\n    files: a.jsonl\n")
    with pytest.raises(UserError, match=r"made\.yaml:3: sources\.a: `licence` is missing"):
        read_corpus(path)
    path.write_text("name: made\nsources:\n  a:\n    megatron: a_text_document\n")
    with pytest.raises(UserError, match=r"a megatron source needs `tokenizer`"):
        read_corpus(path)


def test_what_is_wrong_is_named(shards: Path) -> None:
    """No such shard, no tokenizer, another tokenizer, a shard cut short."""
    with pytest.raises(UserError, match=r"none\.idx: source made: no such shards"):
        documents(Source(megatron=str(shards / "none"), tokenizer=shards / "tokenizer"))
    with pytest.raises(UserError, match=r"nowhere/tokenizer\.json: no tokenizer here"):
        source_identity("made", Source(megatron=str(shards / "*_document"), tokenizer=shards / "nowhere"))
    small = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    (shards / "small").mkdir()
    small.save(str(shards / "small" / "tokenizer.json"))
    with pytest.raises(UserError, match=r"a_text_document\.bin, document 0: a token that the tokenizer does not have"):
        documents(Source(megatron=str(shards / "*_document"), tokenizer=shards / "small"))
    data = (shards / "b_text_document.bin").read_bytes()
    (shards / "b_text_document.bin").write_bytes(data[:-4])
    with pytest.raises(UserError, match=r"b_text_document\.bin: file cut short"):
        documents(source_of(shards))
    shutil.move(shards / "b_text_document.bin", shards / "elsewhere")
    with pytest.raises(UserError, match=r"b_text_document\.bin: source made: no \.bin"):
        documents(source_of(shards))
