"""`clapas data chat`: every form of row in, a folder of examples out; a bad row is named, and nothing is written."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from clapas.recipe.errors import UserError
from clapas_data.chat.build import chat
from clapas_data.chat.kinds import Kind
from clapas_data.examples import column
from clapas_data.manifest import Manifest, open_manifest
from clapas_data.shards import TokenShard
from clapas_data.verify import verify
from commands import Clapas

ASKED, ANSWERED = "Quelle est la durée du préavis ?", "Un mois."
TALK = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": ANSWERED}]


def written(tmp_path: Path, rows: list[Any], name: str = "rows.jsonl") -> Path:
    """A file of rows; strings stand in it as they are."""
    path = tmp_path / name
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def documents(folder: Path) -> list[tuple[str, str]]:
    """(text, what of it is learned) of each document, in the order of the manifest."""
    manifest = open_manifest(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
    found = []
    for entry in manifest.shards:
        assert entry.targets is not None
        tokens, turns = (
            np.concatenate([shard.read(a, b) for a, b in _spans(shard)]) for shard in _pair(manifest, entry)
        )
        for start, stop in _spans(_pair(manifest, entry)[0]):
            own, learned = tokens[start:stop], turns[start:stop] > 0
            parts = (own.tolist(), own[learned].tolist())
            found.append(tuple(tokenizer.decode(part, skip_special_tokens=False) for part in parts))
    return found


def _pair(manifest: Manifest, entry: Any) -> tuple[TokenShard, TokenShard]:
    return TokenShard(manifest.folder, entry), TokenShard(manifest.folder, entry.targets)


def _spans(shard: TokenShard) -> list[tuple[int, int]]:
    return [(shard.document_start(n), shard.document_start(n + 1)) for n in range(shard.record.documents)]


def build(file: Path, test_data: Path, **options: Any) -> Path:
    """Its folder of examples, made in this process."""
    out = file.parent / "out"
    chat([file], out, tokenizer=test_data / "tokenizer", workers=1, **options)
    return out


FORMS: dict[str, dict[str, Any]] = {
    "messages": {"messages": TALK},
    "sharegpt": {"conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": ANSWERED}]},
    "alpaca": {"instruction": ASKED, "input": "", "output": ANSWERED},
    "completion": {"prompt": TALK[:1], "completion": TALK[1:]},
    "parts": {"messages": [TALK[0], {"role": "assistant", "content": [{"type": "text", "text": ANSWERED}]}]},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same(test_data: Path, tmp_path: Path, form: str) -> None:
    """The answer and its end are learned, EOS closes the document."""
    [(text, learned)] = documents(build(written(tmp_path, [FORMS[form]]), test_data))
    assert learned == f"{ANSWERED}<|eot_id|>"
    assert text.endswith(f"{ANSWERED}<|eot_id|><|end_of_text|>")
    assert ASKED in text


def test_files_are_read_packed_as_an_array_and_as_parquet(test_data: Path, tmp_path: Path) -> None:
    """gzip, one JSON array, and Parquet, whose tool calls hold the null keys of other rows: one source each."""
    call = {"function": {"name": "cherche", "arguments": {"mot": "préavis"}}}
    other = {"function": {"name": "date", "arguments": {"jour": 1}}}
    rows = [
        {"messages": [TALK[0], {"role": "assistant", "content": "", "tool_calls": [called]}], "id": str(number)}
        for number, called in enumerate((call, other))
    ]
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(orjson.dumps(FORMS["messages"])))
    (tmp_path / "b.json").write_text(json.dumps([FORMS["alpaca"], FORMS["messages"]], indent=1))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    files = [tmp_path / name for name in ("a.jsonl.gz", "b.json", "c.parquet")]
    options = {"tokenizer": test_data / "tokenizer", "workers": 1, "licences": ["CC0-1.0", "b=CC-BY-4.0"]}
    summary = chat(files, tmp_path / "out", **options)
    manifest = open_manifest(tmp_path / "out")
    assert summary.values()["examples"] == 5
    assert {name: source.licence for name, source in manifest.sources.items()} == {
        "a": "CC0-1.0", "b": "CC-BY-4.0", "c": "CC0-1.0"
    }  # fmt: skip
    assert '{"name": "cherche", "arguments": {"mot": "préavis"}}' in documents(tmp_path / "out")[3][1]
    assert column(manifest, "id") == ["a.jsonl.gz:1", "b.json#1", "b.json#2", "0", "1"]
    assert verify(tmp_path / "out").files > 8


@pytest.mark.parametrize(
    ("row", "texts"),
    [
        ({"prompt": TALK[:1], "chosen": TALK[1:], "rejected": [{"role": "assistant", "content": "Rien."}]},
         (f"{ANSWERED}<|eot_id|>", "Rien.<|eot_id|>")),
        ({"chosen": TALK, "rejected": [TALK[0], {"role": "assistant", "content": "Rien."}]},
         (f"{ANSWERED}<|eot_id|>", "Rien.<|eot_id|>")),
        ({"prompt": ASKED, "chosen": TALK, "rejected": [TALK[0], {"role": "assistant", "content": "Rien."}]},
         (f"{ANSWERED}<|eot_id|>", "Rien.<|eot_id|>")),
        ({"prompt": "Deux et deux font", "chosen": " quatre.", "rejected": " cinq."},
         (" quatre.<|end_of_text|>", " cinq.<|end_of_text|>")),
        ({"chosen": "Deux et deux font quatre.", "rejected": "Deux et deux font cinq."},
         (" quatre.<|end_of_text|>", " cinq.<|end_of_text|>")),
    ],
)  # fmt: skip
def test_pairs_stand_side_by_side(test_data: Path, tmp_path: Path, row: dict[str, Any], texts: tuple[str, str]) -> None:
    """The preferred one first; only the completions are learned, also where the prompt is what both begin with."""
    out = build(written(tmp_path, [row]), test_data)
    examples = open_manifest(out).examples
    assert examples is not None
    assert (examples.kind, examples.documents_per_example) == ("pairs", 2)
    assert tuple(learned for _, learned in documents(out)) == texts


def test_labels_and_answers_are_columns(test_data: Path, tmp_path: Path) -> None:
    """KTO's label; of prompts whatever else their rows hold, and nothing is learned."""
    rows = [{"prompt": TALK[:1], "completion": TALK[1:], "label": good} for good in (True, False)]
    assert column(open_manifest(build(written(tmp_path, rows), test_data)), "label") == [True, False]
    (tmp_path / "prompts").mkdir()
    asked = [{"prompt": TALK[:1], "answer": 4}, {"prompt": TALK[:1], "answer": "cinq", "level": None}]
    out = build(written(tmp_path / "prompts", asked), test_data)
    assert column(open_manifest(out), "answer") == ["4", "cinq"]
    assert column(open_manifest(out), "level") == [None, None]
    for text, learned in documents(out):
        assert text.endswith("<|start_header_id|>assistant<|end_header_id|>\n\n<|end_of_text|>")
        assert learned == ""


BAD: dict[str, tuple[Any, str, str]] = {
    "no role": ({"messages": [{"content": "x"}]}, "message 1 has no role", "missing role"),
    "role": ({"messages": [{"role": "bot", "content": "x"}]}, "unknown role", "unknown role"),
    "empty": ({"messages": [TALK[0], {"role": "assistant", "content": " \n"}]}, "message 2, of role", "empty turn"),
    "no content": ({"messages": [{"role": "user"}]}, "message 1 has no content", "empty turn"),
    "no answer": ({"messages": TALK[:1]}, "no turn of the assistant's", "no assistant turn"),
    "json": ('{"messages": [', "not JSON", "not JSON"),
    "no object": ("[1]", "not a JSON object", "not JSON"),
    "type": ({"messages": [TALK[0], {"role": "assistant", "content": 4}]}, "is no text", "wrong type"),
    "image": ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "more than text", "wrong type"),
    "fields": ({"text": "x"}, "no conversations in this row", "missing field"),
    "calls": ({"messages": [TALK[0], {"role": "assistant", "tool_calls": 3}]}, "are no list", "wrong type"),
    "from": ({"conversations": [{"from": ["gpt"], "value": "x"}]}, "unknown role", "unknown role"),
    "arguments": (
        {"messages": [TALK[0], {"role": "assistant", "tool_calls": [{"name": "f", "arguments": "[1]"}]}]},
        "are no object",
        "wrong type",
    ),
    "options": ({"messages": TALK, "chat_template_kwargs": {"messages": []}}, "is given anyway", "wrong type"),
    "history": ({"instruction": "x", "output": "y", "history": ["z"]}, "no list of pairs", "wrong type"),
    "noncharacter": ({"messages": [TALK[0], {"role": "assistant", "content": "\ufdd0"}]}, "U+FDD0", "template error"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_named_and_nothing_is_written(test_data: Path, tmp_path: Path, case: str) -> None:
    """File and line; with skip_bad it is left out and counted by its reason."""
    row, says, reason = BAD[case]
    file = written(tmp_path, [FORMS["messages"], "", row, FORMS["alpaca"]])
    with pytest.raises(UserError) as caught:
        build(file, test_data)
    assert str(caught.value).startswith(f"{file}:3")
    assert says in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
    manifest = open_manifest(build(file, test_data, skip_bad=True))
    assert manifest.examples is not None
    assert manifest.examples.counts["examples"] == 2
    assert manifest.examples.counts[f"left out: {reason}"] == 1


def test_bad_rows_among_prompts_are_skipped(test_data: Path, tmp_path: Path) -> None:
    """Although all rows are read once before, for the names of their columns."""
    file = written(tmp_path, [{"prompt": TALK[:1], "answer": 4}, '{"prompt": ['])
    out = build(file, test_data, skip_bad=True)
    assert column(open_manifest(out), "answer") == ["4"]


@pytest.mark.parametrize("first", ['{"messages": [', {"text": "x"}])
def test_a_first_row_that_is_bad_is_skipped_too(test_data: Path, tmp_path: Path, first: Any) -> None:
    """The kind is then what the first row says that says any; a bad item of an array is no other thing."""
    rows = [first, FORMS["messages"]]
    manifest = open_manifest(build(written(tmp_path, rows), test_data, skip_bad=True))
    assert manifest.examples is not None
    assert (manifest.examples.kind, manifest.examples.counts["examples"]) == ("conversations", 1)


def test_a_bad_item_of_an_array_is_skipped(test_data: Path, tmp_path: Path) -> None:
    """Its place is its number, and without leave to skip it is named."""
    file = written(tmp_path, [json.dumps([FORMS["messages"], 5])], "rows.json")
    with pytest.raises(UserError, match="not a JSON object") as caught:
        build(file, test_data)
    assert str(caught.value).startswith(f"{file}#2")
    manifest = open_manifest(build(file, test_data, skip_bad=True))
    assert manifest.examples is not None
    assert manifest.examples.counts["left out: not JSON"] == 1


def test_a_template_error_names_row_and_line(test_data: Path, tmp_path: Path) -> None:
    """The user's own file, of which the work has a copy elsewhere, and its line."""
    template = tmp_path / "mine.jinja"
    template.write_text("{% for m in messages %}\n{{ m.role }}\n{{ m.name.first }}\n{% endfor %}")
    file = written(tmp_path, [FORMS["messages"]])
    with pytest.raises(UserError, match="has no attribute 'name'") as caught:
        build(file, test_data, template=str(template))
    assert str(caught.value).startswith(f"{file}:1, {template}:3: ")


def test_a_template_that_leaves_something_out_is_told(test_data: Path, tmp_path: Path) -> None:
    """A system's turn or tools that a template passes over would be lost without a word."""
    template = tmp_path / "short.jinja"
    template.write_text(
        "{% for m in messages if m.role != 'system' %}{{ m.role }}: {% generation %}{{ m.content }}{% endgeneration %}"
        "{% endfor %}"
    )
    system = {"messages": [{"role": "system", "content": "Sois bref."}, *TALK]}
    tools = {"messages": TALK, "tools": [{"name": "cherche"}]}
    for row, says in ((system, "leaves out message 1, of role system"), (tools, "leaves out the tools")):
        with pytest.raises(UserError, match=says):
            build(written(tmp_path, [row]), test_data, template=str(template))


@pytest.mark.parametrize(("held_out", "wanted"), [(7, 7), (0.25, None)])
def test_what_is_held_out_depends_on_what_is_said(
    test_data: Path, tmp_path: Path, held_out: float, wanted: int | None
) -> None:
    """The same examples in any order; equal ones fall on one side."""
    rows = [{"prompt": f"Question {n} ?", "completion": f"Réponse {n}."} for n in range(40)]
    found = []
    for name, order in (("a", rows), ("b", [*reversed(rows), rows[0], rows[39]])):
        (tmp_path / name).mkdir()
        out = build(written(tmp_path / name, order), test_data, held_out=held_out)
        texts: dict[str, set[str]] = {"heldout": set(), "train": set()}
        for split, (text, _) in zip(column(open_manifest(out), "split"), documents(out), strict=True):
            texts[split].add(text)
        found.append(texts)
    assert found[0] == found[1]
    assert not found[0]["heldout"] & found[0]["train"]
    assert len(found[0]["heldout"]) == wanted or wanted is None
    assert 2 < len(found[0]["heldout"]) < 20


def test_the_template_goes_with_the_data(clapas: Clapas, test_data: Path, tmp_path: Path) -> None:
    """By the command, with two workers: transformers reads the folder's tokenizer, template and all."""
    file = written(tmp_path, [FORMS["messages"]] * 600)
    arguments = ["data", "chat", file, "--out", "out", "--tokenizer", test_data / "tokenizer", "--json"]
    result = clapas(*arguments, "--held-out", "0.1", "--workers", 2, "--source", "mine", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    values = json.loads(result.stdout)
    assert (values["examples"], values["turns"], values["left_out"]) == (600, 600, {})
    assert values["fits"]["1024"] == 1
    manifest = open_manifest(tmp_path / "out")
    assert manifest.examples is not None
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out" / "tokenizer")
    assert tokenizer.apply_chat_template(TALK, tokenize=False) + "<|end_of_text|>" == documents(tmp_path / "out")[0][0]
    template = (tmp_path / "out" / "tokenizer" / "chat_template.jinja").read_text()
    config = json.loads((tmp_path / "out" / "tokenizer" / "tokenizer_config.json").read_text())
    assert config["chat_template"] == template
    result = clapas(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert "will not be replaced" in result.stderr


def test_kinds_are_not_mixed(test_data: Path, tmp_path: Path) -> None:
    """The first row says the kind; another kind's row is bad, and one that says none is told what is wanted."""
    kind: Kind = "pairs"
    with pytest.raises(UserError, match="no pairs in this row"):
        build(written(tmp_path, [FORMS["messages"]]), test_data, kind=kind)
    with pytest.raises(UserError, match="cannot tell what kind"):
        build(written(tmp_path, [{"text": "x"}]), test_data)
