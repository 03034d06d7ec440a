"""A tokenizer trained on a corpus: byte-level BPE in the layout of Llama-3, so that every tool knows it.

Chosen, and why:

- The split is Llama-3's regex to the letter, with `ignore_merges`: what llama.cpp implements as `llama-bpe`; or, where
  digits should stand one by one, Qwen2's, its `qwen2` (presets.py). Its converter knows tokenizers by a hash of ids and
  so no new vocabulary, whoever trained it: a GGUF must be written with `tokenizer.ggml.pre` set by hand, to what
  `split_of` says. No Unicode normaliser, for llama.cpp has none: `data build` makes text NFC before it is encoded.
- Ids as in Llama-3: 256 bytes and the merges in the order of their rank, then the special tokens, all within
  `vocab_size`. EOS, BOS, a pad that is not EOS, chat marks and 256 reserved ids exist from birth: an embedding row that
  a later fine-tuning needs is already there.
- No BOS in pretraining documents. Each ends with EOS, so a BOS would always follow an EOS and tell nothing, and
  samples begin in mid-document anyhow. llama.cpp adds a BOS to `llama-bpe` prompts unless told otherwise: a GGUF must
  say `tokenizer.ggml.add_bos_token = false`, as tokenizer_config.json does here. transformers adds none, for the
  post-processor has none. So a model that never saw BOS is never shown one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from clapas.recipe.errors import ClapasError, UserError
from clapas.recipe.files import new_folder
from clapas.recipe.hashes import content_hash
from clapas_data.corpus import read_corpus
from clapas_data.encode import choose_engine, load_encoder
from clapas_data.files import make_folder
from clapas_data.prepare import Prepared, corpus_key, prepare
from clapas_data.tokenizer.presets import SPLITS, Split, SplitName
from clapas_data.tokenizer.samples import parallel_texts
from clapas_data.tokenizer.sampling import PARITY, languages_of, training_texts, weigh
from clapas_data.workers import Workers

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

TRAINER = 1
"""Version of what training does: raised when it changes."""

BOS, EOS, PAD = "<|begin_of_text|>", "<|end_of_text|>", "<|pad|>"
CHAT = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
RESERVED = tuple(f"<|reserved_special_token_{number}|>" for number in range(256))
SPECIAL = (BOS, EOS, PAD, *CHAT, *RESERVED)
SMALLEST = 256 + len(SPECIAL) + 1
"""Ids: the bytes, the special tokens and one merge."""

TRAINING_BYTES = 4 * 10**9
"""Of a larger corpus, documents chosen by their hash up to this many bytes are read: merges hardly change beyond."""
MEASURED_BYTES = 20 * 10**6

FRENCH = (
    "L'œuvre d'un cœur mis à nu : où, çà, naïveté, Noël, aiguë, LŒUVRE, ÆGIR, æquo",
    "« Qu'est-ce que c'est\u00a0? » demanda-t-elle\u202f; «\u00a0Rien\u00a0!\u00a0»",
    "aujourd'hui, l’État, jusqu'au 1er janvier, quelqu’un, presqu’île, D'ALEMBERT, S'IL, L'AN 2000",
    "12\u202f345,67\u00a0€ – n°\u00a042, art.\u00a0L.\u00a01221-1, 50\u00a0%… ½ × ±",
    bytes(range(0xA0, 0x100)).decode("latin-1"),
    "\tligne\n\n  deux lignes\r\n fin   ",
)


def train(
    corpus: str | Path,
    vocab_size: int,
    out: Path,
    overrides: Sequence[str] = (),
    *,
    split: SplitName = "llama3",
    parity: Path | bool = False,
) -> dict[str, Any]:
    """Train a tokenizer on a corpus's training text, write it to the folder `out`, and return its report.

    vocab_size: ids in all, special ones included. overrides: of the corpus file. split: what becomes of digits
    (presets.py). parity: weigh languages so that the same sentences cost about the same in each (sampling.py), instead
    of reading each source in its proportion; a folder of LANGUAGE.txt holds the sentences, True takes those that ship.
    Does nothing where `out` holds this very tokenizer. Raises UserError where it holds another, or the corpus does not
    support that many ids or has no two languages to weigh.
    """
    make_folder(out if out.exists() else out.parent)  # now: an hour's work is not lost to a wrong path
    if vocab_size < SMALLEST:
        raise UserError("vocab-size: too small", found=vocab_size, wanted=f"at least {SMALLEST}")
    read = read_corpus(corpus, overrides)
    parallel = parallel_texts(None if parity is True else parity) if parity else {}
    languages = languages_of(read, parallel) if parity else {}
    key = _key(corpus_key(read), vocab_size, split, languages, parallel)
    if (report := trained_before(out, key)) is not None:
        print(f"{out}: this tokenizer is there, nothing to do", file=sys.stderr)
        return report
    with Workers() as workers:
        prepared = prepare(read, workers)
    print(f"training a vocabulary of {vocab_size} ids", file=sys.stderr)
    learn = partial(learn_merges, vocab_size=vocab_size, split=SPLITS[split])
    weighed = weigh(prepared, languages, parallel, learn) if parity else None
    tokenizer = learn(training_texts(prepared, TRAINING_BYTES, weighed.rates if weighed else None))
    tokenizer.add_special_tokens([_special(name) for name in SPECIAL])
    check_round_trip(tokenizer)
    with new_folder(out) as folder:
        _write(tokenizer, folder)
        report = {"vocab_size": vocab_size, "split": split, **measure(folder, prepared), "key": key}
        if weighed:
            report["parity"] = weighed.report()
        (folder / "report.json").write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
    for part, ratio in report["bytes_per_token"].items():
        print(f"{part}: {ratio:.3f} bytes a token", file=sys.stderr)
    return report


def _key(corpus: str, vocab_size: int, split: SplitName, languages: dict[str, str], parallel: dict[str, str]) -> str:
    """Hash of what decides a tokenizer. languages, parallel: empty without parity."""
    chosen = {"split": split} if split != "llama3" else {}
    if languages:
        chosen["parity"] = content_hash([PARITY, languages, parallel])
    return content_hash([TRAINER, corpus, vocab_size, *([chosen] if chosen else [])])


def trained_before(out: Path, key: str) -> dict[str, Any] | None:
    """The report of the folder `out`, None where it is empty. Raises UserError where it was made by another key."""
    if not out.exists() or not any(out.iterdir()):
        return None
    report = out / "report.json"
    values = orjson.loads(report.read_bytes()) if report.exists() else {}
    if values.get("key") != key:
        way_out = "choose another --out, or remove the folder (shards made with it cannot be read without it)"
        raise UserError("holds another tokenizer", where=out, way_out=way_out)
    return values


def learn_merges(texts: Iterable[list[str]], vocab_size: int, split: Split) -> Tokenizer:
    """Learn merges; the special tokens have their room, and are not added yet."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(ignore_merges=split.ignore_merges))
    pieces = pre_tokenizers.Split(Regex(split.regex), behavior="isolated", invert=False)
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pieces, to_bytes])  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL),
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    found = tokenizer.get_vocab_size() + len(SPECIAL)
    if found < vocab_size:
        raise UserError(
            "this corpus does not support so many ids", found=vocab_size, wanted=f"--vocab-size {found} or fewer"
        )
    return tokenizer


def _special(name: str) -> AddedToken:
    from tokenizers import AddedToken

    return AddedToken(name, special=True, normalized=False)


def check_round_trip(tokenizer: Tokenizer) -> None:
    """Raise ClapasError where French text does not come back from its tokens."""
    for text in FRENCH:
        back = tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False)
        if back != text:
            raise ClapasError("the tokenizer does not give text back", found=repr(back), wanted=repr(text))


def _write(tokenizer: Tokenizer, folder: Path) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": BOS, "eos_token": EOS, "pad_token": PAD}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **names,
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    for name, content in (("tokenizer_config.json", config), ("special_tokens_map.json", names)):
        (folder / name).write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")


def measure(folder: Path, prepared: Prepared) -> dict[str, Any]:
    """Bytes a token on some of each split's text, without EOS."""
    encoder = load_encoder(folder, choose_engine(folder, FRENCH))
    ratios = {}
    for split in ("train", "heldout"):
        size = tokens = 0
        for batches in prepared.batches(split).values():
            own = 0
            for batch in batches:
                if own < MEASURED_BYTES:
                    own += batch.bytes
                    tokens += len(encoder.encode(batch.read("text").column("text").to_pylist())[0])
            size += own
        if tokens:
            ratios[split] = round(size / tokens, 4)
    return {"bytes_per_token": ratios, "round_trip": list(FRENCH)}
