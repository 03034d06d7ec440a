"""Texts by which tokenizers are compared: those that ship, files of the user's, a corpus's held-out documents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from clapas.recipe.errors import UserError
from clapas_data.corpus import read_corpus
from clapas_data.prepare import prepare
from clapas_data.workers import Workers

FOLDER = Path(__file__).parent / "samples"
HELD_OUT_BYTES = 10**6
"""Of each source's held-out text, the first documents up to this many bytes are read."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Some texts of one kind. language: ISO 639, None for what is in none (code). domain: what they are about."""

    name: str
    texts: list[str]
    language: str | None = None
    domain: str | None = None
    licence: str | None = None

    @property
    def bytes(self) -> int:
        """UTF-8 bytes in all."""
        return sum(len(text.encode()) for text in self.texts)


def shipped_samples() -> list[Sample]:
    """The short texts that ship; `samples.yaml` says whose each is."""
    facts = yaml.safe_load((FOLDER / "samples.yaml").read_text(encoding="utf-8"))["samples"]
    return [
        Sample(name, [_read(FOLDER / one.get("file", f"{name}.txt"))], *map(one.get, ("language", "domain", "licence")))
        for name, one in facts.items()
    ]


def parallel_texts(folder: Path | None = None) -> dict[str, str]:
    """Language -> the same sentences, a line each: those that ship, or a folder's `fr.txt`, `oc.txt` and so on.

    Raises UserError where the folder holds fewer than two, or they differ in their number of lines.
    """
    if folder is None:
        files = yaml.safe_load((FOLDER / "samples.yaml").read_text(encoding="utf-8"))["parallel"]
        return {language: _read(FOLDER / name) for language, name in files.items()}
    texts = {path.stem: file_sample(path).texts[0] for path in sorted(folder.glob("*.txt"))}
    lines = {language: text.rstrip("\n").count("\n") + 1 for language, text in texts.items()}
    if len(texts) < 2 or len(set(lines.values())) > 1:
        found = ", ".join(f"{language}.txt of {count} lines" for language, count in lines.items()) or "none"
        wanted = "LANGUAGE.txt for two languages or more, the same sentences line by line"
        raise UserError("no parallel texts", where=folder, found=found, wanted=wanted)
    return texts


def file_sample(path: Path) -> Sample:
    """A text file of the user's. Raises UserError where it is missing, empty, or not UTF-8."""
    try:
        text = _read(path)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=path, wanted="a text file") from None
    except UnicodeDecodeError as error:
        found = f"byte {error.start} is no UTF-8"
        raise UserError("not UTF-8", where=path, found=found, way_out=f"iconv -t utf-8 {path}") from None
    if not text:
        raise UserError("no text", where=path, found="an empty file")
    return Sample(path.name, [text])


def corpus_samples(name: str) -> list[Sample]:
    """The held-out documents of a corpus, a sample a source. Raises UserError where it holds none out."""
    corpus = read_corpus(name)
    with Workers() as workers:
        prepared = prepare(corpus, workers)
    samples = []
    for source, batches in prepared.batches("heldout").items():
        texts, size = [], 0
        for batch in batches:
            if size < HELD_OUT_BYTES:
                texts += batch.read("text").column("text").to_pylist()
                size += batch.bytes
        facts = corpus.sources[source]
        samples.append(Sample(source, texts, facts.language, facts.domain, facts.licence))
    if not samples:
        way_out = "say in the corpus file what is held out, for example `held_out: [{fraction: 0.01}]`"
        raise UserError(
            f"corpus {corpus.name} holds no text out to compare on", found="no held-out document", way_out=way_out
        )
    return samples


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8")
