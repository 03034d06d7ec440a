"""From text to text: whole characters, stops, reasons, files of prompts, and `clapas generate` on stdout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.commands import Clapas
from tests.evaluate.small import EOS, write_model

from clapas.evaluate.completion import Options, StreamedText, complete_texts, encode_prompt, stream_texts
from clapas.evaluate.generate import stream_tokens
from clapas.evaluate.load import LoadedModel, load
from clapas.evaluate.prompts import Prompt, read_prompts
from clapas.evaluate.sampling import Sampling
from clapas.evaluate.stop_ids import stop_ids
from clapas.recipe.errors import UserError

GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder."""
    path = tmp_path_factory.mktemp("model")
    write_model(path)
    return path


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LoadedModel:
    """Its model."""
    return load(folder)


def whole(loaded: LoadedModel, prompt: str, **chosen: Any) -> Any:
    """What comes after a prompt."""
    options = Options(**{"max_new_tokens": 30, "sampling": GREEDY, **chosen})
    return complete_texts(loaded, [encode_prompt(loaded, prompt)], options)[0]


def test_text_comes_in_whole_characters(loaded: LoadedModel) -> None:
    """Of a tokenizer of single bytes, a character of several bytes comes at once, when it is whole; nothing is lost."""
    text = "« L'œuvre », dès l’été : 10\u202f€ 🙂"
    ids = loaded.tokenizer.encode(text, add_special_tokens=False).ids
    assert len(ids) == len(text.encode())
    streamed = StreamedText(loaded.tokenizer, [72], ())
    assert [piece for token in ids if (piece := streamed.add(token))] == list(text)


def test_pieces_add_up_to_the_text(loaded: LoadedModel) -> None:
    """Streaming gives what decoding all at once gives."""
    prompts = [encode_prompt(loaded, "Le"), encode_prompt(loaded, "Bonjour")]
    pieces = list(stream_texts(loaded, prompts, Options(30, GREEDY)))
    for row, said in enumerate(complete_texts(loaded, prompts, Options(30, GREEDY))):
        assert said.text
        assert "".join(piece for place, piece in pieces if place == row) == said.text
    assert len(pieces) > 20


def test_a_text_ends_before_a_stop_and_never_shows_its_beginning(loaded: LoadedModel) -> None:
    """A stop of several tokens: what may be its beginning waits, and is given where it was not."""
    free = whole(loaded, "Le").text
    stop = free[7:10]
    said = whole(loaded, "Le", stop=(stop,))
    assert said.text == free[: free.index(stop)]
    assert (said.finish_reason, said.tokens < 30) == ("stop", True)
    almost = free[7:9] + "\x00"
    assert whole(loaded, "Le", stop=(almost,)).text == free
    pieces = stream_texts(loaded, [encode_prompt(loaded, "Le")], Options(30, GREEDY, stop=(stop,)))
    assert "".join(piece for _, piece in pieces) == said.text


def test_why_a_text_is_over(loaded: LoadedModel, tmp_path: Path) -> None:
    """`length` where there was no room, `stop` at an id that ends a text, of `generation_config.json` too."""
    free = whole(loaded, "Le")
    assert (free.finish_reason, free.tokens) == ("length", 30)
    steps = stream_tokens(loaded.model, [encode_prompt(loaded, "Le")], max_new_tokens=30, sampling=GREEDY)
    ids = [token for (token,) in steps if token is not None]
    write_model(tmp_path)
    config = orjson.loads((tmp_path / "generation_config.json").read_bytes())
    (tmp_path / "generation_config.json").write_bytes(orjson.dumps({**config, "eos_token_id": [EOS, ids[6]]}))
    ended = whole(load(tmp_path), "Le")
    assert stop_ids(load(tmp_path)) == {EOS, ids[6]}
    assert (ended.finish_reason, ended.tokens) == ("stop", ids.index(ids[6]))


def test_a_special_token_is_a_stop_by_its_name(loaded: LoadedModel) -> None:
    """Text never shows special tokens: `--stop '<pad>'` stops at the id."""
    steps = list(stream_texts(loaded, [encode_prompt(loaded, "Le")], Options(5, GREEDY, stop=("<pad>",))))
    assert "".join(piece for _, piece in steps) == whole(loaded, "Le", max_new_tokens=5).text
    with pytest.raises(UserError, match="cannot end at nothing"):
        whole(loaded, "Le", stop=("",))


def test_prompts_of_a_file(tmp_path: Path) -> None:
    """A line each, empty lines apart; of .jsonl strings, prompts and conversations."""
    (tmp_path / "a.txt").write_text("Le salarié\n\nL'employeur  \n")
    assert [(p.given, p.where) for p in read_prompts(tmp_path / "a.txt")] == [
        ("Le salarié", f"{tmp_path}/a.txt:1"),
        ("L'employeur  ", f"{tmp_path}/a.txt:3"),
    ]
    turns = [{"role": "user", "content": "Bonjour"}]
    lines = [orjson.dumps(line) for line in ("Le", {"prompt": "La\u2028nuit", "id": 3}, {"messages": turns})]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    assert [p.given for p in read_prompts(tmp_path / "a.jsonl")] == ["Le", "La\u2028nuit", turns]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", '"Le"\n{"prompt": ', "a.jsonl:2: not JSON"),
        ("a.jsonl", '"Le"\n{"text": "La"}', "a.jsonl:2: not a prompt"),
        ("a.jsonl", '{"messages": []}', "a.jsonl:1: not a prompt"),
        ("a.txt", "\n \n", "a.txt: no prompt"),
        ("b.txt", None, "b.txt: cannot be read: No such file"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, name: str, content: str | None, says: str) -> None:
    """File and line, and what would be one."""
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as caught:
        read_prompts(tmp_path / name)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "messages", ['[{"role": "user"}]', '[{"role": 3, "content": "x"}]', '[{"role": "user", "content": "Bonjour"}]']
)
def test_a_conversation_that_cannot_be_rendered_is_named(loaded: LoadedModel, tmp_path: Path, messages: str) -> None:
    """File and line: a turn without content or role, or a model without a chat template."""
    (tmp_path / "a.jsonl").write_text(f'"Le"\n{{"messages": {messages}}}')
    with pytest.raises(UserError) as caught:
        read_prompts(tmp_path / "a.jsonl")[1].tokens(loaded)
    assert "a.jsonl:2" in str(caught.value)


def test_a_base_model_is_given_no_conversation(trained_run: Path) -> None:
    """Although its tokenizer has the marks of our template: it has never read one."""
    with pytest.raises(UserError, match="a base model") as caught:
        Prompt([{"role": "user", "content": "Bonjour"}], "a.jsonl:1").tokens(load(trained_run))
    assert "a.jsonl:1" in str(caught.value)


def test_texts_are_printed_in_their_order(folder: Path, loaded: LoadedModel, tmp_path: Path, clapas: Clapas) -> None:
    """Prompts of the command line, then of the file, whatever the batches; greedily the same in each."""
    (tmp_path / "more.txt").write_text("L'été\nUn\n")
    arguments = ["generate", folder, "Bonjour", "--file", "more.txt", "--max-new-tokens", 5, "--temperature", 0]
    together = clapas(*map(str, arguments), cwd=tmp_path)
    texts = [prompt + whole(loaded, prompt, max_new_tokens=5).text for prompt in ("Bonjour", "L'été", "Un")]
    assert together.stdout == "".join(f"{text}\n" for text in texts)


def test_generate_prints_json(folder: Path, loaded: LoadedModel, tmp_path: Path, clapas: Clapas) -> None:
    """An object a line: prompt, text, tokens, why it is over, and the seed that gives it again."""
    chosen = ["--max-new-tokens", "5", "--json", "--seed", "3"]
    lines = clapas("generate", str(folder), "Le", "La", "Un", "--batch-size", "2", *chosen, cwd=tmp_path).stdout
    rows = [orjson.loads(line) for line in lines.splitlines()]
    assert [(row["prompt"], row["seed"]) for row in rows] == [("Le", 3), ("La", 4), ("Un", 5)]
    for row in rows:
        assert row["text"] == whole(loaded, row["prompt"], seed=row["seed"], max_new_tokens=5, sampling=Sampling()).text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "nothing to go on with"),
        (["x" * 200], "no room"),
        (["Le", ""], "the prompt is empty"),
        (["Le", "--batch-size", "0"], "--batch-size"),
    ],
)
def test_a_prompt_that_is_refused_is_refused_before_any_goes(
    folder: Path, tmp_path: Path, clapas: Clapas, arguments: list[str], says: str
) -> None:
    """One message, exit 2, nothing on stdout."""
    ended = clapas("generate", str(folder), *arguments, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert says in ended.stderr
