"""A Hugging Face folder of ours as GGUF files, tensor by tensor: memory holds one, as it is stored."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from clapas.model.config import ModelConfig
from clapas.model.hf_config import from_hf_config
from clapas.model.hf_reader import HuggingFaceWeights
from clapas.model.source import WeightSource
from clapas.recipe.files import partial_of, sync_file
from clapas.release.gguf.about import About, Value
from clapas.release.gguf.architecture import architecture_fields, refuse_what_no_gguf_says
from clapas.release.gguf.quantisations import QUANTISATIONS, Kind, Quantisation, fell_back
from clapas.release.gguf.tensors import ROPE_FACTORS, Planned, pieces, planned_tensors, rope_factors
from clapas.release.gguf.vocabulary import vocabulary_fields
from clapas.release.layout import CONFIG, GGUF
from clapas_data.optional import needs

"""Where they lie in a release."""
QUANTISATION_VERSION = 2
"""Of the layout of blocks in Q8_0 and Q4_0, `general.quantization_version`."""


@dataclass(frozen=True)
class Contents:
    """All that a GGUF says. fields: its keys. factors: of stretched positions, None where there are none."""

    config: ModelConfig
    fields: dict[str, Value]
    tensors: list[Planned]
    factors: np.ndarray | None


def contents_of(folder: Path, quantisation: Quantisation, about: About) -> Contents:
    """What the GGUF of a Hugging Face folder must hold. Raises UserError where that cannot be said in GGUF."""
    config = from_hf_config(orjson.loads((folder / CONFIG).read_bytes()), where=str(folder / CONFIG))
    refuse_what_no_gguf_says(config, folder)
    fields = {
        **about.fields(),
        **architecture_fields(config),
        **vocabulary_fields(folder, config.vocab_size),
        "general.file_type": quantisation.file_type,
        "general.quantization_version": QUANTISATION_VERSION,
    }
    return Contents(config, fields, planned_tensors(config, quantisation), rope_factors(config))


def file_of(folder: Path, stem: str, quantisation: str) -> Path:
    """Where a release or an export keeps the GGUF of a quantisation. stem: `About.stem`."""
    return folder / GGUF / f"{stem}-{quantisation}.gguf"


def write_ggufs(folder: Path, names: Iterable[str], about: About) -> list[Path]:
    """Write the GGUF files of a Hugging Face folder into it, and return them. names: of quantisations."""
    files = [file_of(folder, about.stem, name) for name in names]
    for name, file in zip(names, files, strict=True):
        write_gguf(folder, file, QUANTISATIONS[name], about)
    return files


def write_gguf(folder: Path, out: Path, quantisation: Quantisation, about: About) -> None:
    """Write a Hugging Face folder as one GGUF file, which appears whole; says on stderr what could not be quantised.

    Raises UserError where GGUF cannot say this model or tokenizer, or `gguf` is not installed.
    """
    contents = contents_of(folder, quantisation, about)
    source = HuggingFaceWeights(folder, contents.config)
    out.parent.mkdir(exist_ok=True)
    partial = partial_of(out)
    try:
        _write(partial, contents, source)
        sync_file(partial)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    _tell_of_fallbacks(out, quantisation, contents.tensors)


def _tell_of_fallbacks(out: Path, quantisation: Quantisation, tensors: list[Planned]) -> None:
    named = [tensor.name for tensor in tensors if fell_back(quantisation, tensor.name, tensor.shape, tensor.kind)]
    if named:
        more = f" and {len(named) - 5} more" if len(named) > 5 else ""
        print(
            f"{out.name}: rows that are no multiple of 32 cannot be quantised, bf16 instead: "
            f"{', '.join(named[:5])}{more}",
            file=sys.stderr,
        )


def _write(path: Path, contents: Contents, source: WeightSource) -> None:
    with needs("gguf", "GGUF", "release"):
        import gguf
    writer = gguf.GGUFWriter(path, str(contents.fields["general.architecture"]))
    try:
        for key, value in contents.fields.items():
            if key != "general.architecture":  # which the writer has written
                writer.add_key_value(key, value, _type_of(value))
        if contents.factors is not None:
            shape, size = contents.factors.shape, contents.factors.nbytes
            writer.add_tensor_info(ROPE_FACTORS, shape, contents.factors.dtype, size)
        for tensor in contents.tensors:
            kind, shape = gguf.GGMLQuantizationType[tensor.kind], (*tensor.shape[:-1], row_bytes(tensor))
            writer.add_tensor_info(tensor.name, shape, np.dtype(np.uint8), tensor.rows * row_bytes(tensor), kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if contents.factors is not None:
            writer.write_tensor_data(contents.factors)
        for tensor in contents.tensors:
            writer.write_tensor_data(_stored(source, tensor))
    finally:
        writer.close()


def _type_of(value: Value) -> Any:
    """GGUF's type of a key's value; that of a list's elements the writer finds itself."""
    import gguf

    types = {bool: "BOOL", int: "UINT32", float: "FLOAT32", str: "STRING", list: "ARRAY"}
    return gguf.GGUFValueType[types[type(value)]]


def row_bytes(tensor: Planned) -> int:
    """Bytes of a row as it is stored."""
    import gguf

    elements, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[tensor.kind]]
    return tensor.columns // elements * size


def _stored(source: WeightSource, tensor: Planned) -> np.ndarray:
    """A whole tensor's bytes, (rows, bytes of a row)."""
    stored = np.empty((tensor.rows, row_bytes(tensor)), np.uint8)
    for places, rows in pieces(source, tensor):
        stored[places] = quantised(rows, tensor.kind)
    return stored


def quantised(rows: np.ndarray, kind: Kind) -> np.ndarray:
    """Rows of fp32 as they are stored, (rows, bytes of a row)."""
    import gguf

    return gguf.quants.quantize(rows, gguf.GGMLQuantizationType[kind]).view(np.uint8)
