"""Conversations: turns by the chat template, what is kept and left out; `clapas chat` at a terminal, through pipes."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import transformers
from tests.commands import clapas_environment, python
from tests.evaluate.small import CONFIG, EOS, PAD, write_model, write_tokenizer

from clapas.cli import build_parser
from clapas.evaluate.chat import Conversation
from clapas.evaluate.chat_command import chat_command
from clapas.evaluate.completion import Options
from clapas.evaluate.load import load
from clapas.evaluate.sampling import Sampling
from clapas.recipe.errors import UserError
from clapas_data.chat.encoder import open_chat

TEMPLATE = (
    "{% for message in messages %}<bos>{{ message.role[0] }}\n{{ message.content }}<pad>{% endfor %}"
    "{% if add_generation_prompt %}<bos>a\n{% endif %}"
)
"""A turn begins with BOS and ends with the pad token, as other models' end with `<|eot_id|>`."""
GREEDY = Options(max_new_tokens=12, sampling=Sampling(temperature=0))


def write_chat_model(folder: Path, positions: int = 96) -> None:
    """A model that was taught to chat, as far as its folder says."""
    write_model(folder, CONFIG.model_copy(update={"max_position_embeddings": positions}))
    write_tokenizer(folder, chat_template=TEMPLATE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder with a chat template."""
    path = tmp_path_factory.mktemp("chat")
    write_chat_model(path)
    return path


def conversation(folder: Path, told: list[str] | None = None, **chosen: Any) -> Conversation:
    """A conversation with a folder's model."""
    return Conversation(load(folder), open_chat(folder), GREEDY, (told if told is not None else []).append, **chosen)


def test_an_answer_is_transformers_answer(folder: Path) -> None:
    """Over two turns with a system message: what `apply_chat_template` and `generate` give, up to a turn's end."""
    talk = conversation(folder, system="Sois bref")
    theirs = cast(Any, transformers.LlamaForCausalLM.from_pretrained(folder))
    tokenizer = cast(Any, transformers.AutoTokenizer.from_pretrained(folder))
    messages = [{"role": "system", "content": "Sois bref"}]
    for turn in ("Bonjour", "Et alors ?"):
        messages.append({"role": "user", "content": turn})
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        chosen = {"do_sample": False, "max_new_tokens": 12, "max_length": None, "eos_token_id": [PAD, EOS]}
        found = theirs.generate(torch.tensor([ids]), **chosen)[0, len(ids) :]
        want = tokenizer.decode(found, skip_special_tokens=True)
        said = "".join(talk.answer(turn))
        assert said
        assert said.rstrip("\ufffd") == want.rstrip("\ufffd")
        messages.append({"role": "assistant", "content": said})
    assert talk.messages == messages[1:]


def test_the_oldest_exchanges_are_left_out_once_the_context_is_full(folder: Path) -> None:
    """It is told; the system message and the newest turns stay."""
    told: list[str] = []
    talk = conversation(folder, told, system="Bref")
    for number in range(4):
        for _ in talk.answer(f"Question {number}"):
            pass
    assert "left out" in told[0]
    assert talk.messages[-2]["content"] == "Question 3"
    assert talk.messages[0]["content"] != "Question 0"
    assert talk.messages[0]["role"] == "user"


def test_a_turn_that_does_not_fit_is_refused_and_forgotten(folder: Path) -> None:
    """The conversation is as before."""
    talk = conversation(folder)
    before = "".join(talk.answer("Un"))
    with pytest.raises(UserError, match="does not fit") as caught:
        list(talk.answer("x" * 90))
    assert "at most 84" in str(caught.value.wanted)
    assert [turn["content"] for turn in talk.messages] == ["Un", before]


def test_what_was_read_of_a_stopped_answer_is_the_turn(folder: Path) -> None:
    """A reader that stops has the beginning of the answer, and so has the conversation."""
    whole = "".join(conversation(folder).answer("Un"))
    talk = conversation(folder)
    with closing(talk.answer("Un")) as pieces:
        first = next(pieces)
    assert talk.messages[1]["content"] == first
    assert whole.startswith(first)
    assert len(first) < len(whole)
    assert talk.again() == "Un"
    assert (talk.messages, talk.again()) == ([], None)


def test_asked_again_it_draws_another_answer(folder: Path) -> None:
    """By a seed of its own; the same conversation from the start gives the same answers."""

    def answers() -> list[str]:
        options = Options(max_new_tokens=12, sampling=Sampling(temperature=1.0))
        talk = Conversation(load(folder), open_chat(folder), options, print)
        first = "".join(talk.answer("Un"))
        return [first, "".join(talk.answer(talk.again() or ""))]

    assert answers() == answers()
    assert len(set(answers())) == 2


def test_through_a_pipe_a_line_is_a_turn(folder: Path, tmp_path: Path) -> None:
    """Answers, and nothing else, go to stdout; a slash is text; a base model is refused by name, with the way out."""
    write_model(tmp_path / "base")
    talk = conversation(folder)
    want = ["".join(talk.answer(turn)) for turn in ("Un", "/aide")]
    lines = "Un\n\n/aide\n"
    arguments = ["--temperature", "0", "--max-new-tokens", "12"]
    ended = subprocess.run(
        [python(), "-m", "clapas", "chat", str(folder), *arguments],
        input=lines, env=clapas_environment(), capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (0, "".join(f"{answer}\n" for answer in want))
    with pytest.raises(UserError, match="a base model") as caught:
        chat_command(build_parser().parse_args(["chat", str(tmp_path / "base")]))
    assert "clapas generate" in str(caught.value.way_out)


AT_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # Ctrl-C is this process's
from clapas.cli import main
main(sys.argv[1:])
"""


class Terminal:
    """`clapas chat` at a terminal of its own."""

    def __init__(self, arguments: list[str]) -> None:
        self.seen = ""
        self.at, end = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", AT_TERMINAL, *arguments],
            stdin=end, stdout=end, stderr=end, env=clapas_environment(), start_new_session=True,
        )  # fmt: skip
        os.close(end)

    def until(self, text: str) -> str:
        """Read until a text comes; returns what came before, and it."""
        while text not in self.seen:
            self.more()
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def more(self) -> None:
        """Wait for something to read, and read it."""
        ready, _, _ = select.select([self.at], [], [], 60)
        assert ready, self.seen
        try:
            self.seen += os.read(self.at, 4096).decode(errors="replace")
        except OSError:
            raise AssertionError(f"it has ended: {self.seen!r}") from None

    def prompted(self) -> None:
        """Wait for the prompt, and until keys go to it: what is typed before is the kernel's to echo, and dropped."""
        self.until("vous > ")
        deadline = time.monotonic() + 60
        while termios.tcgetattr(self.at)[3] & termios.ECHO:
            assert time.monotonic() < deadline
            os.sched_yield()

    def type(self, keys: str) -> None:
        """Type."""
        os.write(self.at, keys.encode())

    def ended(self) -> int:
        """Wait for its end; the exit code."""
        code = self.process.wait(timeout=60)
        os.close(self.at)
        return code


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A terminal with a model that answers at length."""
    write_chat_model(tmp_path, positions=8192)
    arguments = ["chat", str(tmp_path), "--temperature", "0", "--max-new-tokens", "6000", "--repetition-penalty", "1.3"]
    return Terminal(arguments)


def test_at_a_terminal(terminal: Terminal) -> None:
    """Ctrl-C stops an answer and not the chat; commands have French and English names; Ctrl-D ends it."""
    terminal.prompted()
    terminal.type("Bonjour\n")
    terminal.until("Bonjour\r\n")
    terminal.more()
    terminal.type("\x03")
    terminal.until("[arrêté]")
    terminal.prompted()
    terminal.type("/aide\n")
    assert "/effacer" in terminal.until("Ctrl-C arrête")
    terminal.type("/système Sois bref\n")
    terminal.until("consigne changée")
    terminal.type("/retry\n")
    terminal.until("rien à refaire")
    terminal.type("/oublie\n")
    terminal.until("commande inconnue")
    terminal.type("/clear\n")
    terminal.until("conversation effacée")
    terminal.prompted()
    terminal.type("\x03")
    terminal.until("pour partir")
    terminal.prompted()
    terminal.type("\x04")
    assert terminal.ended() == 0
