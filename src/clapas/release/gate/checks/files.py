"""Check 1: a release's files are those that a release has, and nothing in them runs, points away or gives away.

Every file is of a known name and content; none is a pickle, code, or a symbolic link; no text holds an absolute path or
a secret; JSON parses, and says nothing twice. What stands in the files is for the other checks.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import orjson
import yaml

from clapas.recipe.secrets import secret_in
from clapas.release.documents.words import LANGUAGES
from clapas.release.gate.check import Check, Draft, Verdict, judged
from clapas.release.layout import (
    ANSWERS,
    CARD,
    CONFIG,
    EVIDENCE,
    GENERATION,
    GGUF,
    INDEX,
    LICENCE,
    NOTICE,
    PUBLIC_KEY,
    RESULTS,
    REVISIONS,
    SIGNATURE,
    SPECIAL_TOKENS,
    SUMS,
    TEMPLATE,
    TOKENIZER,
    TOKENIZER_CONFIG,
)
from clapas.release.sums import is_outside

MODEL = (CONFIG, GENERATION, SPECIAL_TOKENS, TOKENIZER, TOKENIZER_CONFIG)
PAPERS = (LICENCE, NOTICE, CARD)
"""What every folder of weights has: a release's, and each of its revisions'."""
IN_TWO_LANGUAGES = ("data-card", "model-documentation-form", "privacy-report", "training-content-summary")
DOCUMENTS = (
    "CHANGELOG.md",
    "CITATION.cff",
    "VERIFY.md",
    "documents/bom.cdx.json",
    "documents/croissant.json",
    *(f"documents/{name}.{language}.md" for name in IN_TWO_LANGUAGES for language in LANGUAGES),
    EVIDENCE,
    "images/data.png",
    "images/loss.png",
    ANSWERS,
)
SEAL = (RESULTS, SUMS, SIGNATURE)
"""What a draft gets last."""
WEIGHTS = ("*.safetensors", INDEX, TEMPLATE, PUBLIC_KEY)
"""What any of them may have."""
SOMETIMES = (
    "documents/crawled-domains.csv",
    "evaluations/*.items.jsonl",
    "evaluations/*.json",
    f"{GGUF}/*.gguf",
    ".eval_results/*.yaml",
)
CODE = {".py", ".pyc", ".so", ".dll", ".dylib", ".sh", ".js", ".exe", ".whl", ".ipynb", ".c", ".cpp", ".cu", ".jar"}
PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".h5", ".msgpack", ".dill"}
"""Formats that can run code when they are loaded, or whose readers have."""
BINARY = {".safetensors": b"", ".gguf": b"GGUF", ".png": b"\x89PNG\r\n\x1a\n"}
"""Suffixes of what is no text, with its first bytes; weights' headers are check 2's."""
RAW = (TOKENIZER, "*.items.jsonl")
"""Made of training text or of answers to others' questions: any path may stand there, but none of this machine."""
ADDRESS = re.compile(r"\b(?!file:)[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]*")
"""An address, whose path is of no machine's files."""
PATH = re.compile(
    r"(?:(?<![\w./~#])|(?<=\s-[IL]))/([\w.-]+)/[\w.@%+-]+[\w.@%+/-]*"  # Unix's, of two folders at least
    r"|\bfile:/[^\s\"']+"
    r"|\b[A-Za-z]:\\[\w.$ -]+\\[\w.$-]+|\\\\[\w.-]+\\[\w.$-]+"  # Windows', of a drive or of a server
)
TELLS_NOTHING = ("usr", "bin", "etc", "dev", "lib", "proc", "sys")


def check_files(draft: Draft) -> Verdict:
    """Of the whole folder but its revisions, which are releases of their own."""
    names: list[str] = []
    problems: list[str] = []
    for name, problem in _walk(draft):
        (problems if problem else names).append(problem or name)
    missing = [f"{name} is missing" for name in _required(draft) if not (draft.folder / name).is_file()]
    if not any(name.endswith(".safetensors") for name in names):
        missing.append("there are no weights: *.safetensors")
    said = [problem for name in names for problem in _problems_of(draft, name)]
    return judged(problems + missing + said, f"{len(names)} files, all of them a release's; nothing runs when loaded")


def _walk(draft: Draft) -> Iterator[tuple[str, str | None]]:
    """(name, why it cannot be in a release), of everything in the folder that is no folder itself."""
    for root, folders, files in os.walk(draft.folder):
        for entry in sorted(folders + files):
            path = Path(root, entry)
            name = path.relative_to(draft.folder).as_posix()
            mode = path.lstat().st_mode
            if not draft.is_revision and PurePosixPath(name).is_relative_to(REVISIONS) and not stat.S_ISLNK(mode):
                continue
            if draft.live is None and is_outside(name) and not PurePosixPath(name).is_relative_to(REVISIONS):
                continue  # a stranger's copy: git or the Hub's client put it there
            if stat.S_ISLNK(mode):
                yield name, f"{name} is a symbolic link"
            elif stat.S_ISREG(mode):
                yield name, None
            elif not stat.S_ISDIR(mode):
                yield name, f"{name} is neither a file nor a folder"


def _required(draft: Draft) -> tuple[str, ...]:
    if draft.is_revision:
        return (*MODEL, *PAPERS)
    return (*MODEL, *PAPERS, *DOCUMENTS, *(SEAL if draft.live is None else ()))


def _known(draft: Draft) -> tuple[str, ...]:
    """Names that a file may have: beside a revision's weights stands nothing that no check looks at."""
    return (*MODEL, *PAPERS, *WEIGHTS, *SEAL, *(() if draft.is_revision else (*DOCUMENTS, *SOMETIMES)))


def _problems_of(draft: Draft, name: str) -> Iterator[str]:
    path, suffix = draft.folder / name, PurePosixPath(name).suffix
    if suffix in CODE:
        yield f"{name} is code"
        return
    if suffix in PICKLES:
        yield f"{name}: this format can run code when it is loaded; weights are safetensors"
        return
    if not any(_matches(name, known) for known in _known(draft)):
        yield f"{name} is no file of a release"
    if suffix in BINARY:
        with path.open("rb") as file:
            if not file.read(len(BINARY[suffix])).startswith(BINARY[suffix]):
                yield f"{name} is no {suffix[1:].upper()} file"
        return
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        yield f"{name} is no text: byte {error.start}"
        return
    yield from _problems_in(draft, name, text)


def _matches(name: str, known: str) -> bool:
    """In the very folder: weights below another would be files that no check reads."""
    return name.count("/") == known.count("/") and fnmatchcase(name, known)


def _problems_in(draft: Draft, name: str, text: str) -> Iterator[str]:
    if text.startswith("#!"):
        yield f"{name} is a script"
    try:
        values = _parsed(name, text)
    except (ValueError, yaml.YAMLError) as error:
        yield f"{name} does not parse: {str(error).splitlines()[0]}"
        values = None
    if values is not None:
        text = "\n".join(strings(values))  # in JSON a line ends with a letter: `\nhf_…` would not begin a word
    if kind := secret_in(text, os.environ if draft.live else {}):
        yield f"{name} holds a secret: {kind}"
    is_raw = any(fnmatchcase(name, raw) for raw in RAW)
    if path := next(paths_in(text, is_raw=is_raw, is_here=draft.live is not None), None):
        yield f"{name} holds an absolute path: {path}"


def _parsed(name: str, text: str) -> Any:
    """JSON and YAML as values; None for other text. Raises ValueError and YAMLError."""
    if name.endswith(".json"):
        values = orjson.loads(text)
        if name != TOKENIZER:  # long, and its hash is that of the training data
            json.loads(text, object_pairs_hook=_said_once)
        return values
    if name.endswith(".jsonl"):
        return [orjson.loads(line) for line in text.splitlines()]
    if name.endswith((".yaml", ".cff")):
        return yaml.safe_load(text)
    return None


def _said_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Raises ValueError where it says a key twice: of the two, readers take different ones."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it says {next(name for name in names if names.count(name) > 1)} twice")
    return values


def strings(values: Any) -> Iterator[str]:
    """Every text in nested mappings and lists, names too."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, dict):
        for name, value in values.items():
            yield str(name)
            yield from strings(value)
    elif isinstance(values, list):
        for value in values:
            yield from strings(value)


def paths_in(text: str, *, is_raw: bool = False, is_here: bool = False) -> Iterator[str]:
    """Absolute paths in a text, however it writes them, but those that are the same everywhere (`/usr/bin/…`).

    is_raw: of text that quotes others: only paths of this machine count. is_here: whether this machine wrote it.
    """
    if is_raw and not is_here:
        return
    own = {str(Path.home()), str(Path.cwd())} - {"/"}
    for match in PATH.finditer(ADDRESS.sub(" ", unquote(text) if "%2f" in text.lower() else text)):
        is_own = any(f"{match[0]}/".startswith(f"{path}/") for path in own)
        if is_own or (not is_raw and match[1] not in TELLS_NOTHING):
            yield match[0]


CHECK = Check(1, "files", "files complete; no pickle, code, symbolic link, absolute path or secret", check_files)
