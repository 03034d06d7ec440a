"""Check 2: the files of weights are sound, the index is of them, and what they hold is the model that was trained.

Whether every number is finite is asked where the release is made. A stranger's sums prove that the bytes are the same,
so there the headers alone are read, and a verification costs no second reading of the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from clapas.release.evidence.evidence import Evidence
from clapas.release.gate.check import Check, Draft, Verdict, judged
from clapas.release.gate.reading import (
    EMBEDDING,
    HEAD,
    Stored,
    Unreadable,
    chunks,
    read_header,
    read_object,
    weight_files,
)
from clapas.release.layout import INDEX, SINGLE

EXPONENT = {"F32": 0x7F800000, "BF16": 0x7F80, "F16": 0x7C00}
"""The bits that are all set in a number that is infinite or none, by type."""
SHOWN = 3
"""Names that a sentence lists."""


def check_index(draft: Draft) -> Verdict:
    """Headers, index, parameters, and finite numbers where the release is made."""
    files, problems = _read_files(draft.folder)
    if problems:
        return judged(problems, "")
    tensors = {name: tensor for own in files.values() for name, tensor in own.items()}
    count = sum(tensor.elements for tensor in tensors.values())
    problems = [*_index(draft.folder, files), *_parameters(draft.evidence, tensors)]
    if draft.live is not None:
        problems += _not_finite(draft.folder, tensors)
    scanned = "all finite" if draft.live else "their values as signed"
    return judged(problems, f"{len(files)} file{'s' * (len(files) > 1)}, {count:,} numbers, {scanned}")


def _read_files(folder: Path) -> tuple[dict[str, dict[str, Stored]], list[str]]:
    """The tensors of each file, and what is wrong with the files as such."""
    files: dict[str, dict[str, Stored]] = {}
    problems: list[str] = [] if (names := weight_files(folder)) else ["there is no file of weights"]
    for name in names:
        header = read_header(folder, name)
        if isinstance(header, Unreadable):
            problems.append(header.why)
            continue
        files[name], metadata = header
        if metadata.get("format") != "pt":
            problems.append(f"{name} says format {metadata.get('format')!r}, not 'pt', which transformers refuses")
        elif surplus := sorted(metadata.keys() - {"format"}):
            problems.append(f"the header of {name} says {', '.join(surplus)}, which no export writes")
    return files, problems


def _index(folder: Path, files: Mapping[str, Mapping[str, Stored]]) -> Iterator[str]:
    """Where readers look for each tensor is where it is."""
    if (folder / SINGLE).is_file() and (len(files) > 1 or (folder / INDEX).is_file()):
        yield f"{SINGLE} stands beside {'other files of weights' if len(files) > 1 else INDEX}: readers differ in which"
        return
    if len(files) == 1 and SINGLE in files:
        return
    index = read_object(folder, INDEX)
    if isinstance(index, Unreadable):
        yield f"{len(files)} files of weights, and {index.why}"
        return
    where, told = index.get("weight_map"), index.get("metadata")
    if not isinstance(where, dict) or not isinstance(told, dict):
        yield f"{INDEX} has no weight_map, or no metadata"
        return
    held = [(name, file) for file, own in files.items() for name in own]
    yield from _names(f"{INDEX} does not have", sorted({name for name, _ in held} - where.keys()))
    yield from _names(f"{INDEX} has, and no file holds", sorted(where.keys() - {name for name, _ in held}))
    misled = sorted({name for name, file in held if name in where and (where[name] != file)})
    yield from _names(f"{INDEX} names another file than holds it (or two hold it):", misled)
    yield from _names("not in the index at all:", sorted(files.keys() - set(map(str, where.values()))))
    tensors = [tensor for own in files.values() for tensor in own.values()]
    counted = {
        "total_size": sum(tensor.bytes for tensor in tensors),
        "total_parameters": sum(tensor.elements for tensor in tensors),
    }
    for name, count in counted.items():
        if told.get(name, count if name == "total_parameters" else None) != count:
            yield f"{INDEX} says {name} {told.get(name)!r}, and the files have {count}"


def _parameters(evidence: Evidence, tensors: Mapping[str, Stored]) -> Iterator[str]:
    """As many numbers as were trained, without the rows of the vocabulary that were cut."""
    if (embedding := tensors.get(EMBEDDING)) is None or len(embedding.shape) != 2:
        yield f"there is no {EMBEDDING} of two dimensions"
        return
    tied = bool(evidence.model["tie_word_embeddings"])
    rows, hidden = embedding.shape
    cut = (evidence.model["vocab_size"] - rows) * hidden * (1 if tied else 2)
    # a head that is tied counts once, wherever it is stored: whether it may be there twice is check 6's
    found = sum(tensor.elements for name, tensor in tensors.items() if not (tied and name == HEAD))
    if found != evidence.parameters - cut:
        yield f"the files hold {found:,} parameters, and the model that was trained has {evidence.parameters - cut:,}"


def _not_finite(folder: Path, tensors: Mapping[str, Stored]) -> Iterator[str]:
    names = [name for name, tensor in tensors.items() if not _is_finite(folder, tensor)]
    yield from _names("not every number is finite in", names)


def _is_finite(folder: Path, tensor: Stored) -> bool:
    exponent = EXPONENT[tensor.dtype]
    return not any(((bits & exponent) == exponent).any() for bits in chunks(folder, tensor))


def _names(what: str, names: list[str]) -> Iterator[str]:
    if names:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        yield f"{what} {', '.join(names[:SHOWN])}{more}"


CHECK = Check(2, "index", "index, files and parameters agree; every number is finite", check_index)
