"""What does weighing languages do to a tokenizer: French law, English manual pages, a little Occitan.

    mkdir debian && cd debian && apt-get download libreoffice-l10n-fr libreoffice-l10n-oc manpages
    for package in *.deb; do dpkg -x "$package" .; done; cd ..
    python benchmarks/tokenizer_parity.py debian [--vocab-size 32768]

LibreOffice's messages are the same content in English, French and Occitan. A tenth of them, by the hash of the English,
is kept apart: the tokens that those cost in each language are the figure. Another tenth serves one contender. French
training text is the demo's corpus and the other messages, English the manual pages and the messages, Occitan the
messages alone. The contenders:

- proportional: every document once, `clapas tokenizer train`.
- equal: each language as many bytes, by copies of its documents (20 at most).
- parity: `clapas tokenizer train --parity`, by the sentences that ship.
- parity, messages: `clapas tokenizer train --parity FOLDER`, by the other tenth of the messages.
"""

from __future__ import annotations

import argparse
import gettext
import hashlib
import json
import subprocess
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from tokenizers import Tokenizer

from clapas_data.corpus import read_corpus
from clapas_data.prepare import Prepared, prepare
from clapas_data.tokenizer.opened import open_any
from clapas_data.tokenizer.presets import SPLITS
from clapas_data.tokenizer.samples import parallel_texts
from clapas_data.tokenizer.sampling import MOST_COPIES, languages_of, training_texts, weigh
from clapas_data.tokenizer.train import TRAINING_BYTES, learn_merges
from clapas_data.workers import Workers

LANGUAGES = ("fr", "en", "oc")
MESSAGES_A_DOCUMENT = 40
APART = 10
"""One message in so many is kept apart."""


def main() -> None:
    """Train the contenders and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("debian", type=Path, help="the unpacked packages")
    parser.add_argument("--vocab-size", type=int, default=32768)
    options = parser.parse_args()
    learned, weighed, apart = _messages(options.debian)
    with tempfile.TemporaryDirectory() as folder:
        prepared = _corpus(Path(folder), learned, _manual(options.debian))
        learn = partial(learn_merges, vocab_size=options.vocab_size, split=SPLITS["llama3"])
        _run(prepared, learn, weighed, apart)


def _run(
    prepared: Prepared, learn: partial[Tokenizer], weighed: dict[str, list[str]], apart: dict[str, list[str]]
) -> None:
    sentences = parallel_texts()
    languages = languages_of(prepared.corpus, sentences)
    found = weigh(prepared, languages, sentences, learn)
    by_messages = weigh(prepared, languages, {name: "\n".join(texts) for name, texts in weighed.items()}, learn)
    sizes = {
        language: sum(
            batch.bytes
            for name, batches in prepared.batches("train").items()
            if languages[name] == language
            for batch in batches
        )
        for language in LANGUAGES
    }
    mean = sum(sizes.values()) / len(sizes)
    equal = {name: min(MOST_COPIES, mean / sizes[language]) for name, language in languages.items()}
    weights = {"proportional": None, "equal": equal, "parity": found.rates, "parity, messages": by_messages.rates}
    law = [text for batches in prepared.batches("heldout").values() for batch in batches for text in _texts(batch)]
    print("training text:", ", ".join(f"{name} {size / 1e6:.2f} MB" for name, size in sizes.items()))
    print("copies by parity:", found.copies, "by the messages:", by_messages.copies)
    bytes_apart = {name: sum(len(text.encode()) for text in texts) for name, texts in apart.items()}
    print("messages kept apart:", len(apart["en"]), bytes_apart)
    head = " | ".join(f"{name}: bytes a token | tokens, over the cheapest" for name in LANGUAGES)
    print(f"| tokenizer | {head} | French law held out: bytes a token |\n|{'---|' * (2 + 2 * len(LANGUAGES))}")
    for name, chosen in weights.items():
        tokenizer = learn(training_texts(prepared, TRAINING_BYTES, chosen))
        _row(name, partial(_count, tokenizer), apart, law)
    tekken = open_any("tekken")
    _row(tekken.name, lambda texts: sum(tekken.encode_flat(list(texts))[1]), apart, law)


def _row(name: str, count, apart: dict[str, list[str]], law: list[str]) -> None:
    tokens = {language: count(apart[language]) for language in LANGUAGES}
    least = min(tokens.values())
    cells = [
        f"{sum(len(text.encode()) for text in apart[language]) / tokens[language]:.3f} "
        f"| {tokens[language]} ({tokens[language] / least:.2f})"
        for language in LANGUAGES
    ]
    print(f"| {name} | {' | '.join(cells)} | {sum(len(text.encode()) for text in law) / count(law):.3f} |", flush=True)


def _count(tokenizer: Tokenizer, texts: Iterable[str]) -> int:
    return sum(len(one.ids) for one in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False))


def _texts(batch) -> list[str]:
    return batch.read("text").column("text").to_pylist()


def _messages(debian: Path) -> tuple[dict[str, list[str]], ...]:
    """Language -> LibreOffice's messages: to learn from, to weigh by, kept apart; in the same order in each."""
    parts: tuple[dict[str, list[str]], ...] = tuple({language: [] for language in LANGUAGES} for _ in range(3))
    for path in sorted(debian.rglob("oc/LC_MESSAGES/*.mo")):
        french, occitan = _catalogue(Path(str(path).replace("/oc/", "/fr/"))), _catalogue(path)
        for key in sorted(set(french) & set(occitan)):
            english = key.rpartition("\x04")[2]
            if occitan[key] in (english, french[key]) or " " not in english:
                continue  # not translated, or a single word
            part = {0: 2, 1: 1}.get(hashlib.sha256(english.encode()).digest()[0] % APART, 0)
            for language, text in zip(LANGUAGES, (french[key], english, occitan[key]), strict=True):
                parts[part][language].append(text)
    return parts


def _catalogue(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    with path.open("rb") as file:
        catalogue = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]  # nothing public lists it
    return {key: text for key, text in catalogue.items() if isinstance(key, str) and key}


def _manual(debian: Path) -> list[str]:
    """The English manual pages as text."""
    pages = sorted((debian / "usr/share/man").glob("man*/*.gz"))
    return [
        subprocess.run(
            f"zcat {page} | groff -Tutf8 -man -P-cbou 2>/dev/null",
            shell=True,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for page in pages
    ]


def _corpus(folder: Path, messages: dict[str, list[str]], manual: list[str]) -> Prepared:
    documents = {
        f"messages-{language}": [
            "\n".join(texts[place : place + MESSAGES_A_DOCUMENT]) for place in range(0, len(texts), MESSAGES_A_DOCUMENT)
        ]
        for language, texts in messages.items()
    }
    documents["manual"] = manual
    demo = read_corpus("demo")
    law = {name: source.model_dump(mode="json", exclude_defaults=True) for name, source in demo.sources.items()}
    sources = {name: {**facts, "language": "fr"} for name, facts in law.items()}
    for name, texts in documents.items():
        lines = [json.dumps({"id": f"{name}/{place}", "text": text}) for place, text in enumerate(texts)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        language = "en" if name == "manual" else name[-2:]
        sources[name] = {"files": f"{name}.jsonl", "licence": "MPL-2.0 OR GPL-2.0-or-later", "language": language}
    held_out = [one.model_dump(mode="json", exclude_none=True) for one in demo.held_out]
    path = folder / "parity.yaml"
    path.write_text(json.dumps({"name": "parity", "sources": sources, "held_out": held_out}))
    with Workers() as workers:
        return prepare(read_corpus(path), workers)


if __name__ == "__main__":
    main()
