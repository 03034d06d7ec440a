"""Tokenizers that are not the training data's, or that change French: check 8."""

from __future__ import annotations

from tests.release.mutations.config import changed, fields
from tests.release.mutations.mutant import Mutant, Values

TOKENIZER, CONFIG = "tokenizer.json", "tokenizer_config.json"


def swap_merges(values: Values) -> None:
    """Two merges in the other order: a few words are cut otherwise, all come back whole."""
    merges = values["model"]["merges"]
    merges[100], merges[101] = merges[101], merges[100]


def compose(values: Values) -> None:
    """A normaliser that makes other letters of ligatures, no-break spaces and narrow ones."""
    values["normalizer"] = {"type": "NFKC"}


def lower(values: Values) -> None:
    """A normaliser that loses capitals."""
    values["normalizer"] = {"type": "Lowercase"}


def other_corpus(values: Values) -> None:
    """The data were made by another tokenizer."""
    for data in values["data"]:
        data["tokenizer_hash"] = "0" * 64


def more_special(values: Values) -> None:
    values["additional_special_tokens"] = ["<|new|>"]


MUTANTS = [
    Mutant("two merges in the other order", 8, changed(TOKENIZER, swap_merges), only=True),
    Mutant("a normaliser eats ligatures and no-break spaces", 8, changed(TOKENIZER, compose), only=True),
    Mutant("a normaliser eats capitals", 8, changed(TOKENIZER, lower)),
    Mutant("spaces before ? and ! are cleaned away", 8, fields(CONFIG, clean_up_tokenization_spaces=True), only=True),
    Mutant("a class that builds another tokenizer from the file", 8, fields(CONFIG, tokenizer_class="LlamaTokenizer")),
    Mutant("EOS is added to every text", 8, fields(CONFIG, add_eos_token=True), only=True),
    Mutant("a space is put before every text", 8, fields(CONFIG, add_prefix_space=True), only=True),
    Mutant("special tokens in texts are cut up", 8, fields(CONFIG, split_special_tokens=True), only=True),
    Mutant("a long text loses its beginning", 8, fields(CONFIG, truncation_side="left"), only=True),
    Mutant("a special token more", 8, changed("special_tokens_map.json", more_special)),
    Mutant("the training data were made by another tokenizer", 8, lambda case: case.with_evidence(other_corpus)),
]
