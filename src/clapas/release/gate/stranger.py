"""A stranger: a clean, offline process with stock transformers that looks at folders and says what it sees.

It knows nothing of Clapas (`python -I`, an environment and a home of its own): what loads in it loads anywhere. One
process looks at many folders, so that importing transformers is paid once; it begins to import as soon as it is made.
What it runs is `clean_process`. P positions asked for, V vocabulary.
"""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from clapas.release.gate import clean_process
from clapas.release.gate.probe_texts import CONVERSATION, TEXTS
from clapas.release.gate.seen import Probes, Seen, SeenText, SeenTokenizer

if TYPE_CHECKING:  # torch is imported here while the process imports transformers, not before it is started
    from torch import Tensor

PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "TMPDIR")
"""What of our environment the process gets: where programs and libraries lie, and which devices and cores are its."""
PATIENCE_S = 1800
"""Seconds without a word after which it is given up: longer than the largest model takes to be read."""


def has_transformers() -> bool:
    """Whether there is a stranger to ask."""
    return importlib.util.find_spec("transformers") is not None


class Stranger:
    """The process; a context manager. patience_s: seconds without a word after which it is given up.

    One that crashes or is given up is an error of the folder that it looked at; another looks at the next.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._home = tempfile.TemporaryDirectory(prefix="stranger-")
        self._files = Path(self._home.name)
        self._written: Probes | None = None
        self._process = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        return self._process.pid

    def close(self) -> None:
        """End it."""
        self._end()
        self._home.cleanup()

    def look(self, folder: Path, probes: Probes | None) -> Seen:
        """Load model and tokenizer of a folder, and compute the probes."""
        if self._process.poll() is not None:
            self._process = self._start()
        out = self._files / "found.safetensors"
        out.unlink(missing_ok=True)
        request = {
            "folder": str(folder.resolve()),
            "texts": TEXTS,
            "conversation": CONVERSATION,
            "probes": None if probes is None else str(self._file_of(probes)),
            "out": str(out),
        }
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._answer()
        except (BrokenPipeError, _GoneError) as error:
            why = str(error) if isinstance(error, _GoneError) else self._last_words()
            self._end()
            return Seen(error=why, tokenizer_error=why)
        return _seen(answer, out, folder.resolve())

    def _start(self) -> subprocess.Popen[str]:
        environment = {
            **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
            **{"HOME": self._home.name, "HF_HOME": self._home.name, "XDG_CACHE_HOME": self._home.name},
            **{"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"},
            **{"TOKENIZERS_PARALLELISM": "false", "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"},
        }
        self._words: queue.Queue[str | None] = queue.Queue()
        with (self._files / "stderr").open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-I", str(clean_process.__file__)],
                cwd=self._home.name,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                encoding="utf-8",
            )
        threading.Thread(target=_listen, args=(process, self._words), daemon=True).start()
        return process

    def _answer(self) -> dict[str, Any]:
        while True:
            try:
                line = self._words.get(timeout=self._patience_s)
            except queue.Empty:
                raise _GoneError(f"nothing was heard of it for {self._patience_s:g} s") from None
            if line is None:
                raise _GoneError(self._last_words())
            if (answer := json.loads(line).get("seen")) is not None:
                return answer

    def _last_words(self) -> str:
        code = self._process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        last = (self._files / "stderr").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"the process ended with {how}" + (f": {last[-1]}" if last else "")

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):  # what it was asked last was still to be sent
                stream.close()

    def _file_of(self, probes: Probes) -> Path:
        """The probes as a file, written once for all folders."""
        import torch
        from safetensors.torch import save_file

        path = self._files / "probes.safetensors"
        if probes is not self._written:
            tensors: dict[str, Tensor] = {}
            for number, probe in enumerate(probes.sequences):
                for name in ("ids", "positions", "keep"):
                    tensors[f"{name}.{number}"] = torch.tensor(getattr(probe, name), dtype=torch.int64)
            if (text := probes.held_out) is not None:
                tensors |= {"held_out": text.tokens, "targets": text.targets, "lengths": text.lengths}
            save_file(tensors, path)
            self._written = probes
        return path


class _GoneError(Exception):
    """The process did not answer."""


def _listen(process: subprocess.Popen[str], words: queue.Queue[str | None]) -> None:
    """Put what the process says into the queue, None at its end; of its own, so that waiting can end."""
    assert process.stdout is not None
    with suppress(ValueError):  # closed meanwhile
        for line in process.stdout:
            words.put(line)
    words.put(None)


def _seen(answer: dict[str, Any], found: Path, folder: Path) -> Seen:
    """found: the file of tensors, where any were asked for."""
    from safetensors.torch import load_file

    tensors = load_file(found) if found.is_file() else {}
    model, tokenizer = answer["model"], answer["tokenizer"]
    for said in (model, tokenizer):  # a release tells nothing of where it was made
        said["error"] = said["error"] and said["error"].replace(f"{folder}/", "").replace(str(folder), folder.name)
    tokenizer_error = tokenizer.pop("error")
    known = None
    if tokenizer_error is None:
        texts = tuple(
            SeenText(tuple(text["ids"]), tuple(text["as_called"]), text["decoded"]) for text in tokenizer.pop("texts")
        )
        known = SeenTokenizer(texts=texts, rendered=tuple(tokenizer.pop("rendered")), **tokenizer)
    if model["error"] is not None:
        return Seen(error=model["error"], tokenizer_error=tokenizer_error, tokenizer=known)
    logits, own = (_numbered(tensors, name) for name in (clean_process.LOGITS, clean_process.OWN_LOGITS))
    return Seen(tokenizer_error=tokenizer_error, tokenizer=known, logits=logits, own_logits=own, **model)


def _numbered(tensors: dict[str, Tensor], name: str) -> tuple[Tensor, ...]:
    return tuple(tensors[f"{name}.{number}"] for number in range(len(tensors)) if f"{name}.{number}" in tensors)
