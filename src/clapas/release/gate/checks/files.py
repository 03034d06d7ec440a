"""Check 1: a release's files are those that a release has, and nothing in them runs, points away or gives away.

Every file is of a known name and content; none is a pickle, code, or a symbolic link; no text names a folder of the
machine that wrote it, or holds a secret; JSON parses. What stands in the files is for the other checks.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

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
SOMETIMES = (
    "*.safetensors",
    INDEX,
    TEMPLATE,
    "documents/crawled-domains.csv",
    "evaluations/*.items.jsonl",
    "evaluations/*.json",
    f"{GGUF}/*.gguf",
    ".eval_results/*.yaml",
    PUBLIC_KEY,
)
CODE = {".py", ".pyc", ".so", ".dll", ".dylib", ".sh", ".js", ".exe", ".whl", ".ipynb", ".c", ".cpp", ".cu", ".jar"}
PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".h5", ".msgpack", ".dill"}
"""Formats that can run code when they are loaded, or whose readers have."""
BINARY = {".safetensors": b"", ".gguf": b"GGUF", ".png": b"\x89PNG\r\n\x1a\n"}
"""Suffixes of what is no text, with its first bytes; weights' headers are check 2's."""
RAW = (TOKENIZER, "*.items.jsonl")
"""Made of training text or of answers to others' questions: any path may stand there, but none of this machine."""
PATH = re.compile(
    r"(?<![\w/:.~%#<>*+-])/([\w.-]+)/[\w.@%+-]+[\w.@%+/-]*|\bfile:/{2,3}[^\s\"']+|\b[A-Z]:\\Users\\[\w.-]+"
)
PRIVATE = re.compile(r"home\w*|Users|root|tmp|var|mnt|media|srv|opt|scratch\w*|lustre\w*|gpfs\w*|work\w*|store|nfs\w*")
"""First folders of the paths that machines have of their own: of a workstation's or a supercomputer's users."""
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
            if PurePosixPath(name).is_relative_to(REVISIONS) and not stat.S_ISLNK(mode):
                continue
            if draft.live is None and is_outside(name):
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


def _problems_of(draft: Draft, name: str) -> Iterator[str]:
    path, suffix = draft.folder / name, PurePosixPath(name).suffix
    if suffix in CODE:
        yield f"{name} is code"
        return
    if suffix in PICKLES:
        yield f"{name}: this format can run code when it is loaded; weights are safetensors"
        return
    if not any(_matches(name, known) for known in (*MODEL, *PAPERS, *DOCUMENTS, *SEAL, *SOMETIMES)):
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
    except (orjson.JSONDecodeError, yaml.YAMLError) as error:
        yield f"{name} does not parse: {str(error).splitlines()[0]}"
        values = None
    if values is not None:
        text = "\n".join(strings(values))  # in JSON a line ends with a letter: `\nhf_…` would not begin a word
    if kind := secret_in(text, os.environ if draft.live else {}):
        yield f"{name} holds a secret: {kind}"
    is_raw = any(fnmatchcase(name, raw) for raw in RAW)
    if path := next(paths_in(text, is_raw=is_raw, is_here=draft.live is not None), None):
        yield f"{name} names a path of a machine: {path}"


def _parsed(name: str, text: str) -> Any:
    """JSON and YAML as values; None for other text."""
    if name.endswith(".json"):
        return orjson.loads(text)
    if name.endswith(".jsonl"):
        return [orjson.loads(line) for line in text.splitlines()]
    if name.endswith((".yaml", ".cff")):
        return yaml.safe_load(text)
    return None


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
    """Absolute paths in a text that tell of a machine; an address's path is none.

    is_raw: of text that quotes others: only paths of this machine count. is_here: whether this machine wrote it, so
    that every folder of its root tells.
    """
    here = {path.name for path in Path("/").iterdir() if path.is_dir()} - {*TELLS_NOTHING} if is_here else set()
    own = {str(Path.home()), str(Path.cwd())} - {"/"}
    for match in PATH.finditer(text):
        first = match[1]
        if is_raw:
            tells = is_here and any(f"{match[0]}/".startswith(f"{path}/") for path in own)
        else:
            tells = first is None or PRIVATE.fullmatch(first) is not None or first in here
        if tells:
            yield match[0]


CHECK = Check(1, "files", "files complete; no pickle, code, symbolic link, path of a machine or secret", check_files)
