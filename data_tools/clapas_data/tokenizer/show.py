"""What `compare` and `inspect` found, for a person to read."""

from __future__ import annotations

from typing import Any

from clapas_data.inspect import table

VISIBLE = str.maketrans({" ": "·", "\u00a0": "⍽", "\u202f": "⍽", "\n": "⏎", "\t": "⇥", "\r": "␍"})
SHOWN = 12
"""Examples of each finding."""


def comparison_table(content: dict[str, Any]) -> str:
    """`compare`'s values as tables: one for each measure, a column a tokenizer."""
    names = [one["name"] for one in content["tokenizers"]]
    heads = ("tokenizer", "ids", "split")
    facts = [[one["name"], f"{one['vocab_size']:,}", one["split"] or "its own"] for one in content["tokenizers"]]
    lines = table(heads, facts)
    for measure, head in (
        ("bytes_per_token", "bytes a token"),
        ("tokens_per_word", "tokens a word"),
        ("whole_words", "words kept whole"),
        ("vocabulary_used", "vocabulary used"),
    ):
        lines += ["", f"{head}:", *_by_sample(content, names, measure)]
    for key, sums in content["sums"].items():
        lines += ["", f"bytes a token by {key}:", *_by_sum(sums, names, key)]
    inexact = sorted({row["tokenizer"] for row in content["rows"] if not row["exact"]})
    lines += ["", f"text comes back exactly: {'all' if not inexact else 'not with ' + ', '.join(inexact)}"]
    lines += ["", "tokens of the same sentences, over the cheapest language:", *_parity(content)]
    lines += ["", "pieces:", *_probes(content, names)]
    return "\n".join(lines)


def _by_sample(content: dict[str, Any], names: list[str], measure: str) -> list[str]:
    values = {(row["sample"], row["tokenizer"]): row[measure] for row in content["rows"]}
    samples = content["samples"]
    rows = [
        [
            one["name"],
            one["language"] or "-",
            one["domain"] or "-",
            *(_ratio(values[one["name"], name]) for name in names),
        ]
        for one in samples
    ]
    return table(("text", "language", "domain", *names), rows)


def _by_sum(sums: list[dict[str, Any]], names: list[str], key: str) -> list[str]:
    values = {(row[key], row["tokenizer"]): row["bytes_per_token"] for row in sums}
    kinds = dict.fromkeys(row[key] for row in sums)
    return table((key, *names), [[kind, *(_ratio(values[kind, name]) for name in names)] for kind in kinds])


def _parity(content: dict[str, Any]) -> list[str]:
    languages = list(next(iter(content["parity"].values()))["tokens"])
    rows = [
        [name, *(f"{one['tokens'][language]} ({one['relative'][language]:.2f})" for language in languages)]
        for name, one in content["parity"].items()
    ]
    return table(("tokenizer", *languages), rows)


def _probes(content: dict[str, Any], names: list[str]) -> list[str]:
    rows = [
        [what if place == 0 else "", name, str(len(pieces[name])), visible("|".join(pieces[name]))]
        for what, pieces in content["probes"].items()
        for place, name in enumerate(names)
    ]
    return table(("what", "tokenizer", "tokens", "pieces"), rows)


def visible(text: str) -> str:
    """A text with its spaces and control characters to be seen."""
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text.translate(VISIBLE))


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def inspection_table(content: dict[str, Any]) -> str:
    """`inspect`'s values: a line a finding, with examples."""
    lines = [
        f"{content['name']}: {content['vocab_size']:,} ids, of them {content['special']} special and "
        f"{content['bytes']} single bytes; split {content['split'] or 'its own'}"
    ]
    lines += [_found("partial UTF-8", content["partial"]), _found("unreachable", content["unreachable"])]
    variants = content["variants"]
    largest = "  ".join(visible("|".join(group)) for group in variants["largest"][:3])
    lines.append(
        f"variants by case or space: {variants['tokens_beyond_first']:,} tokens beyond the first of "
        f"{variants['groups']:,} groups: {largest}"
    )
    lines.append(_found("longest", content["longest"]))
    if corpus := content.get("corpus"):
        lines.append(
            f"\nin {corpus['name']} ({corpus['documents']:,} documents, {corpus['tokens']:,} tokens, "
            f"{corpus['bytes_per_token']:.3f} bytes a token):"
        )
        lines += [
            _found("unused", corpus["unused"]),
            _found("rare", corpus["rare"]),
            _found("nearly only in one document", corpus["of_one_document"]),
        ]
        if len(corpus["by_source"]) > 1:
            lines += [f"nearly only in {name}: {count:,}" for name, count in corpus["by_source"].items()]
    if model := content.get("model"):
        lines.append(
            f"\nin {model['weights']}: {model['reference']} tokens known to be unseen lie within {model['limit']:.3f} "
            f"of their direction, the median token {model['median_distance']:.3f} away"
        )
        lines.append(_found("as near as those, likely untrained", model["candidates"]))
    return "\n".join(lines)


def _found(what: str, listed: dict[str, Any]) -> str:
    examples = "  ".join(visible(token) for token in listed["tokens"][:SHOWN])
    more = " …" if listed["count"] > SHOWN else ""
    return f"{what}: {listed['count']:,}" + (f": {examples}{more}" if examples else "")
