"""More tokens on top of a tokenizer that a model has: French words that it cuts into many pieces become one or two.

New merges are learned on what the base's merges leave: a text is encoded by the base, its ids are letters, and BPE is
trained on words of these letters. So a new token is always a row of the base's tokens. What holds of the result:

- The base's ids, special tokens included, are as they were; new ids follow the largest of them.
- The base's merges come first, in their order; new ones never make a token that the base has. So where the new
  encoding ends a token the base ends one too: it has the base's tokens with some neighbours joined, never more of them,
  and a text in which no new token occurs has the base's ids.
- decode(encode(text)) is what the base makes of it.

`extension.json` says of which base's ids each new token consists, which is what its first embedding is made of
(`clapas.model.vocabulary`), and which base that was. Byte-level BPE only: in SentencePiece's way a whole line may be
one word.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from clapas.recipe.errors import UserError
from clapas.recipe.files import new_folder
from clapas.recipe.hashes import content_hash
from clapas_data.corpus import read_corpus
from clapas_data.encode import TokenizerFolder, open_tokenizer
from clapas_data.extension import EXTENSION
from clapas_data.files import make_folder
from clapas_data.prepare import Prepared, corpus_key, prepare
from clapas_data.tokenizer.sampling import training_texts
from clapas_data.tokenizer.train import check_round_trip, measure, trained_before
from clapas_data.workers import Workers

if TYPE_CHECKING:
    from tokenizers import Tokenizer

EXTENDER = 1
"""Version of what extending does: raised when it changes."""
TRAINING_BYTES = 500 * 10**6
"""Of a larger corpus, documents chosen by their hash up to this many bytes are read: words that matter come often."""
FIRST_LETTER = 0x10000
"""The letter of id 0: beyond it are 1,048,576 that are no space and no surrogate."""
KEPT = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
"""The base's files that hold for the extended tokenizer as they are."""
SPARE = 0.1
"""More merges learned than asked for, for some make tokens that the base has: again twice as many where too few."""


@dataclass(frozen=True, slots=True)
class Learned:
    """New merges of a base's tokens. merges: pairs of ids. pieces: of each merge, the base's ids that it joins."""

    merges: list[tuple[int, int]]
    pieces: list[list[int]]


def extend(base: Path, corpus: str | Path, add: int, out: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Learn `add` new tokens on a corpus's training text, write the extended tokenizer to `out`; returns its report.

    base: a tokenizer's folder. overrides: of the corpus file. Does nothing where `out` holds this very tokenizer.
    Raises UserError where the base is no byte-level BPE, `out` holds another, or the corpus has not so many words.
    """
    make_folder(out if out.exists() else out.parent)
    if add < 1:
        raise UserError("add: too few", found=add, wanted="at least 1")
    opened = open_tokenizer(base)
    content = _byte_level(opened)
    read = read_corpus(corpus, overrides)
    key = content_hash([EXTENDER, corpus_key(read), opened.record.hash, add])
    if (report := trained_before(out, key)) is not None:
        print(f"{out}: this tokenizer is there, nothing to do", file=sys.stderr)
        return report
    with Workers() as workers:
        prepared = prepare(read, workers)
    print(f"learning {add} tokens on top of {opened.record.vocab_size}", file=sys.stderr)
    learned = _learn(opened, content, prepared, add)
    _join(content, opened.record.vocab_size, learned)
    with new_folder(out) as folder:
        _write(folder, opened, content, learned)
        before, after = (measure(path, prepared)["bytes_per_token"] for path in (base, folder))
        report = {
            "vocab_size": opened.record.vocab_size + add,
            "base": {"hash": opened.record.hash, "vocab_size": opened.record.vocab_size, "bytes_per_token": before},
            "bytes_per_token": after,
            "key": key,
        }
        (folder / "report.json").write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
    for part, ratio in after.items():
        shorter = 1 - before[part] / ratio
        print(f"{part}: {ratio:.3f} bytes a token, {shorter:.1%} fewer tokens than the base", file=sys.stderr)
    return report


def _byte_level(opened: TokenizerFolder) -> dict[str, Any]:
    """The content of a byte-level BPE. Raises UserError for another kind."""
    content = orjson.loads((opened.path / "tokenizer.json").read_bytes())
    model, pre = content["model"], orjson.dumps(content.get("pre_tokenizer")).decode()
    problems = [] if model.get("type", "BPE") == "BPE" and "merges" in model else [f"model {model.get('type')}"]
    problems += [] if '"ByteLevel"' in pre else ["no ByteLevel pre-tokenizer"]
    problems += [key for key in ("byte_fallback", "continuing_subword_prefix", "end_of_word_suffix") if model.get(key)]
    if model.get("dropout"):
        problems.append("dropout")
    if problems:
        raise UserError(
            "only a byte-level BPE can be extended (Llama 3, Qwen, Mistral Nemo, SmolLM, those that we train)",
            where=opened.path / "tokenizer.json",
            found=", ".join(problems),
            way_out="train a tokenizer of your own (`clapas tokenizer train`), with model.other_tokenizer=true",
        )
    return content


def _learn(opened: TokenizerFolder, content: dict[str, Any], prepared: Prepared, add: int) -> Learned:
    """The first merges that make `add` tokens which the base does not have."""
    tokens = {number: token for token, number in content["model"]["vocab"].items()}
    known = set(content["model"]["vocab"]) | {token["content"] for token in content.get("added_tokens", ())}
    spare = int(add * SPARE) + 16
    while True:
        size = opened.record.vocab_size
        pairs = _train(_words(content, training_texts(prepared, TRAINING_BYTES)), size, add + spare)
        learned = _new_ones(pairs, tokens, known, size, add)
        if len(learned.merges) == add:
            return learned
        if len(pairs) < add + spare:
            found = len(learned.merges)
            raise UserError("this corpus has not so many new words", found=add, wanted=f"--add {found} or fewer")
        spare *= 2


def _words(content: dict[str, Any], texts: Iterable[list[str]]) -> Iterator[str]:
    """Texts as the base cuts them: words apart, a letter for each of the base's ids."""
    tokenizer = _bare(content)
    for batch in texts:
        for encoded in tokenizer.encode_batch(batch, add_special_tokens=False):
            letters = np.array(encoded.ids, np.uint32) + FIRST_LETTER
            words = np.array(encoded.word_ids, np.int64)
            borders = np.flatnonzero(np.diff(words)) + 1
            yield np.insert(letters, borders, ord(" ")).astype("<u4").tobytes().decode("utf-32-le")


def _train(words: Iterator[str], size: int, merges: int) -> list[tuple[str, str]]:
    """The merges, in order, of a BPE over words of letters, of which there are `size`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue] a setter
    letters = [chr(FIRST_LETTER + number) for number in range(size)]
    trainer = trainers.BpeTrainer(
        vocab_size=size + merges, min_frequency=2, initial_alphabet=letters, show_progress=False
    )
    tokenizer.train_from_iterator(words, trainer)
    return [_pair(merge) for merge in orjson.loads(tokenizer.to_str())["model"]["merges"]]


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    """A merge as `tokenizer.json` has it: a pair, or in older ones two tokens with a space between."""
    first, second = merge.split(" ", 1) if isinstance(merge, str) else merge
    return first, second


def _new_ones(pairs: list[tuple[str, str]], tokens: dict[int, str], known: set[str], size: int, add: int) -> Learned:
    """The first `add` merges that make a token nobody has; what is made of a merge left out is left out too."""
    ids = {chr(FIRST_LETTER + number): number for number in tokens}
    merges, pieces, made = list[tuple[int, int]](), list[list[int]](), set(known)
    for first, second in pairs:
        letters = first + second
        numbers = [ord(letter) - FIRST_LETTER for letter in letters]
        text = "".join(tokens[number] for number in numbers)
        if len(merges) == add or text in made or first not in ids or second not in ids:
            continue
        made.add(text)
        merges.append((ids[first], ids[second]))
        pieces.append(numbers)
        ids[letters] = size + len(pieces) - 1
    return Learned(merges, pieces)


def _join(content: dict[str, Any], size: int, learned: Learned) -> None:
    """Add new tokens and merges to a `tokenizer.json`.

    Special tokens enter the vocabulary too: `tokenizers` counts the ids of those that do not on from its end.
    """
    model = content["model"]
    model["vocab"].update({token["content"]: token["id"] for token in content.get("added_tokens", ())})
    tokens = {number: token for token, number in model["vocab"].items()}
    as_text = bool(model["merges"]) and isinstance(model["merges"][0], str)
    for place, (first, second) in enumerate(learned.merges):
        pair = (tokens[first], tokens[second])
        tokens[size + place] = "".join(pair)
        model["vocab"]["".join(pair)] = size + place
        model["merges"].append(" ".join(pair) if as_text else list(pair))


def _write(folder: Path, base: TokenizerFolder, content: dict[str, Any], learned: Learned) -> None:
    """The base's files, with another `tokenizer.json` and what it was made of."""
    from tokenizers import Tokenizer

    for path in base.path.iterdir():
        if path.is_file() and path.name in KEPT:
            shutil.copy(path, folder / path.name)
    (folder / "tokenizer.json").write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
    facts = {"base": {"hash": base.record.hash, "vocab_size": base.record.vocab_size}, "pieces": learned.pieces}
    (folder / EXTENSION).write_bytes(orjson.dumps(facts) + b"\n")
    check_round_trip(Tokenizer.from_file(str(folder / "tokenizer.json")))
    _refuse_special_words(folder / "tokenizer.json", content)


def _refuse_special_words(path: Path, content: dict[str, Any]) -> None:
    """Raise UserError where a text that spells a special token out would get its id: text is text."""
    names = [token["content"] for token in content.get("added_tokens", ())]
    tokenizer = _bare(content)
    wrong = [name for name in names if content["model"]["vocab"][name] in tokenizer.encode(name).ids]
    if wrong:
        raise UserError(
            "special tokens of this base are words that a text may hold",
            where=path.name,
            found=", ".join(wrong[:5]),
            way_out="train a tokenizer of your own (`clapas tokenizer train`), with model.other_tokenizer=true",
        )


def _bare(content: dict[str, Any]) -> Tokenizer:
    """A tokenizer to which all text is text."""
    from tokenizers import Tokenizer

    bare = {**content, "added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
    return Tokenizer.from_str(orjson.dumps(bare).decode())
