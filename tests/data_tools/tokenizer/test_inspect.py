"""Odd tokens are found: planted ones, and counts that agree with counting one by one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from clapas import cli
from clapas.recipe.errors import UserError
from clapas_data.tokenizer.inspect import ENOUGH, RARE, inspect
from clapas_data.tokenizer.train import SPECIAL, train

JUNK = " xyzzyplugh"


def test_planted_tokens_are_found(tmp_path: Path, jsonl_corpus, guides: list[str]) -> None:
    """A word of one document, a token across two words that no text gives, and all counts by hand."""
    texts = list(dict.fromkeys(guides))[:45]  # without exact duplicates, which a build drops
    texts[30] += JUNK * 400
    corpus = jsonl_corpus(a=texts[:31], b=texts[31:])
    train(corpus, 1500, tmp_path / "trained")
    path = tmp_path / "trained" / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    last = 1500 - len(SPECIAL) - 1
    dropped = next(token for token, number in vocabulary.items() if number == last)
    del vocabulary[dropped]
    content["model"]["merges"] = [pair for pair in content["model"]["merges"] if "".join(pair) != dropped]
    vocabulary["deĠla"] = last  # " de la" is two pieces to the split
    path.write_text(json.dumps(content))

    found = inspect(str(path.parent), str(corpus))
    assert (found["unreachable"]["ids"], found["unreachable"]["tokens"]) == ([last], ["de la"])
    junk = vocabulary["Ġxyzzyplugh"]
    assert junk in found["corpus"]["of_one_document"]["ids"]
    stock = Tokenizer.from_file(str(path))
    documents = [Counter(stock.encode(text).ids) for text in texts]
    total = sum(documents, Counter())
    ordinary = range(last + 1)
    assert found["corpus"]["tokens"] == total.total()
    assert found["corpus"]["unused"]["ids"] == [number for number in ordinary if not total[number]]
    assert found["corpus"]["rare"]["ids"] == [number for number in ordinary if 0 < total[number] < RARE]
    assert set(found["corpus"]["of_one_document"]["ids"]) == {
        number
        for number, count in total.items()
        if count >= ENOUGH and max(one[number] for one in documents) >= 0.9 * count
    }
    assert found["special"] == len(SPECIAL)
    for number in found["partial"]["ids"]:
        assert "\ufffd" in stock.decode([number])


def test_untrained_rows_are_found(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows that point where the reserved ones do, in bf16, tied or not; no other is named."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2048, 64)).astype(np.float32)
    way = rng.normal(size=64).astype(np.float32)
    reserved = range(2048 - 256, 2048)
    planted = [300, 700, 1500]
    for number in [*reserved, *planted]:
        rows[number] = way + 0.1 * rows[number]
    weights = torch.tensor(rows).bfloat16()
    model = tmp_path / "model"
    model.mkdir()
    (model / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    save_file({"model.embed_tokens.weight": weights}, model / "model.safetensors")
    assert cli.run(["tokenizer", "inspect", str(folder), "--model", str(model), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["model"]
    assert sorted(found["candidates"]["ids"]) == planted
    assert (found["weights"], found["reference"]) == ("model.embed_tokens.weight", 256)

    other = torch.randn(2048, 64)
    save_file({"model.embed_tokens.weight": other, "lm_head.weight": weights.half()}, model / "model.safetensors")
    assert sorted(inspect(str(folder), model=model)["model"]["candidates"]["ids"]) == planted
    assert cli.run(["tokenizer", "inspect", str(folder), "--model", str(model)]) == 0
    assert "likely untrained: 3" in capsys.readouterr().out


def test_wrong_models_are_told(folder: Path, tmp_path: Path) -> None:
    """No weights, too few rows, a file cut short, one that is no safetensors file."""
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    path = tmp_path / "model.safetensors"
    with pytest.raises(UserError, match="no weights of a model here"):
        inspect(str(folder), model=tmp_path)
    save_file({"lm_head.weight": torch.randn(100, 8)}, path)
    with pytest.raises(UserError, match="fewer rows than the tokenizer has ids"):
        inspect(str(folder), model=tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="cut short"):
        inspect(str(folder), model=tmp_path)
    path.write_bytes(b"\x10" + b"\0" * 7 + b"no safetensors file")
    with pytest.raises(UserError, match="not a safetensors file"):
        inspect(str(folder), model=tmp_path)
