"""A Hugging Face folder's weights, read by slices: any number of shards, experts stored one by one, any float dtype.

The files are checked when the folder is opened (`safe_open` reads their headers), and read by `TensorFile`, straight
into what wants them: mapped files would count as this process's memory, of which a rank's share is all it should take.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from clapas.checkpoint.format import DTYPES
from clapas.checkpoint.regions import Part, Region, region_of, shared_runs
from clapas.checkpoint.tensor_file import CHUNK, TensorFile
from clapas.model.build import parameter_shapes
from clapas.model.config import ModelConfig
from clapas.model.decoder import CausalLM
from clapas.model.hf_weights import EMBEDDING, HEAD, INDEX, SINGLE, stored_parts
from clapas.recipe.errors import UserError

FLOATS = ("F64", "F32", "BF16", "F16")
"""What weights may be stored in, by safetensors' names; anything else is quantised, and needs its scales."""
OTHER_FORMS = (".bin", ".pt", ".pth", ".ckpt", ".gguf")
"""How the names of files end that hold weights in another form, which we do not read."""


class HuggingFaceWeights:
    """The weights of a folder under our parameters' names.

    config: of the model that they must be. Raises UserError, naming them, for tensors that are missing, that the model
    has no place for, of another shape or no floats; for a tied model whose stored head differs from its embedding; for
    a file that is missing or not safetensors.
    """

    def __init__(self, folder: Path, config: ModelConfig) -> None:
        self.folder = folder
        self._shapes = parameter_shapes(config)
        self._files = _files_by_name(folder)
        parts = {stored: (name, part) for name, stored, part in self._stored()}
        # older exports store the rotary frequencies, which follow from the config
        surplus = [name for name in self._files if name not in parts and not name.endswith("rotary_emb.inv_freq")]
        tied = config.tie_word_embeddings and HEAD in surplus and EMBEDDING in self._files
        if tied:
            surplus.remove(HEAD)
        _refuse(folder, "tensors are missing", [name for name in parts if name not in self._files])
        _refuse(folder, "tensors have no place in this model", surplus)
        self._headers = {name: _header(folder / name) for name in sorted(set(self._files.values()))}
        for stored, (name, part) in parts.items():
            self._check(stored, self._shapes[name][0 if part is None else 1 :])
        if tied:
            self._check(HEAD, self._shapes[EMBEDDING])
            self._check_tied()

    def names(self) -> list[str]:
        """Every parameter, in the model's order; a tied head is the embedding."""
        return list(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """A parameter's."""
        return self._shapes[name]

    def dtype(self, name: str) -> torch.dtype:
        """What a parameter is stored in."""
        stored, _ = stored_parts(name, self._shapes[name])[0]
        return DTYPES[self._headers[self._files[stored]][stored][0]]

    def tensor(self, name: str) -> Tensor:
        """A whole parameter, in the dtype that it is stored in."""
        full = torch.empty(self._shapes[name], dtype=self.dtype(name))
        self.read_into(name, 0, full.view(-1))
        return full

    @torch.no_grad()
    def read_into(self, name: str, offset: int, out: Tensor, part: Part | None = None) -> None:
        """Fill `out` (flat, of any dtype, anywhere) with elements from `offset` on.

        offset: in the flattened parameter, or in the slice `part` of it, flattened.
        """
        shape = self._shapes[name]
        wanted, parts = region_of(shape, part, offset, out.numel()), stored_parts(name, shape)
        size = torch.Size(shape).numel() // len(parts)
        for number, (stored, _) in enumerate(parts):
            for in_out, in_stored, length in shared_runs(shape, wanted, Region(None, number * size, size)):
                self._file(self._files[stored]).read_into(stored, in_stored, out[in_out : in_out + length])

    def _stored(self) -> Iterator[tuple[str, str, int | None]]:
        for name, shape in self._shapes.items():
            for stored, part in stored_parts(name, shape):
                yield name, stored, part

    def _check(self, stored: str, wanted: tuple[int, ...]) -> None:
        """That a tensor is in its file, of the shape that the model has, and floats."""
        where = self.folder / self._files[stored]
        if stored not in (header := self._headers[self._files[stored]]):
            raise UserError(f"{stored}: not in the file that the index names", where=where)
        dtype, found = header[stored]
        if found != wanted:
            raise UserError(f"{stored}: another shape", where=where, found=found, wanted=str(wanted))
        if dtype not in FLOATS:
            way_out = "quantised weights have lost what training needs: take the model's own"
            raise UserError(f"{stored}: no floats", where=where, found=dtype, wanted=", ".join(FLOATS), way_out=way_out)

    def _check_tied(self) -> None:
        pieces = [self._pieces(name) for name in (EMBEDDING, HEAD)]
        if not all(torch.equal(one, other) for one, other in zip(*pieces, strict=True)):
            found = f"{HEAD} differs from {EMBEDDING}"
            raise UserError(
                "config.json ties the head, the weights do not",
                where=self.folder,
                found=found,
                way_out="`tie_word_embeddings`: false in config.json, where the head was trained apart; or take the "
                f"files without {HEAD}",
            )

    def _pieces(self, stored: str) -> Iterator[Tensor]:
        elements = torch.Size(self._shapes[EMBEDDING]).numel()
        for start in range(0, elements, CHUNK):
            piece = torch.empty(min(CHUNK, elements - start))
            self._file(self._files[stored]).read_into(stored, start, piece)
            yield piece

    @functools.cache  # noqa: B019 a reader lives as long as what it fills
    def _file(self, name: str) -> TensorFile:
        return TensorFile(self.folder / name)


def weight_files(folder: Path) -> list[str]:
    """The names of a folder's files of weights. Raises UserError where one is missing, or there is none."""
    return sorted(set(_files_by_name(folder).values()))


def _files_by_name(folder: Path) -> dict[str, str]:
    """Which file of the folder holds each tensor. Where both are there, transformers reads the single file."""
    if (folder / SINGLE).is_file():
        return dict.fromkeys(_header(folder / SINGLE), SINGLE)
    if (folder / INDEX).is_file():
        try:
            where = orjson.loads((folder / INDEX).read_bytes())["weight_map"]
            if not isinstance(where, dict) or not all(isinstance(file, str) for file in where.values()):
                raise TypeError
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise UserError(
                "not an index of safetensors", where=folder / INDEX, wanted="JSON with `weight_map`"
            ) from None
        missing = sorted({file for file in where.values() if not (folder / file).is_file()})
        _refuse(folder, "files that the index names are missing", missing, way_out="fetch the model again")
        return where
    _refuse_other_forms(folder)
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "an empty folder"
    raise UserError("no weights here", where=folder, found=found, wanted=f"{SINGLE}, or shards with {INDEX}")


def _refuse_other_forms(folder: Path) -> None:
    """Raise UserError where a folder has weights, but not in safetensors."""
    there = sorted(path.name for path in folder.iterdir() if path.suffix in OTHER_FORMS)
    if pickled := [name for name in there if not name.endswith(".gguf")]:
        raise UserError(
            "these weights are pickles, which can run code as they are read",
            where=folder,
            found=", ".join(pickled[:5]),
            wanted=f"safetensors: {SINGLE}, or shards with {INDEX}",
            way_out="take the model's safetensors; or, if you trust the files, convert them: transformers' "
            f"AutoModelForCausalLM.from_pretrained({str(folder)!r}, dtype='auto').save_pretrained(ANOTHER_FOLDER)",
        )
    if there:
        way_out = "take the model's own safetensors: a GGUF file is made from them, as a rule with less precision"
        raise UserError("these weights are in GGUF", where=folder, found=", ".join(there[:5]), way_out=way_out)


def _header(path: Path) -> Mapping[str, tuple[str, tuple[int, ...]]]:
    """(dtype, shape) of each tensor in a file."""
    try:
        with safe_open(path, framework="pt") as file:
            opened: Any = file
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 not a mapping
            return {name: (piece.get_dtype(), tuple(piece.get_shape())) for name, piece in slices.items()}
    except SafetensorError as error:
        raise UserError("not a whole safetensors file", where=path, found=str(error)) from None


def _refuse(folder: Path, what: str, names: list[str], shown: int = 5, way_out: str | None = None) -> None:
    if names:
        more = f" and {len(names) - shown} more" if len(names) > shown else ""
        raise UserError(what, where=folder, found=f"{', '.join(names[:shown])}{more}", way_out=way_out)


@torch.no_grad()
def load_weights(model: CausalLM, folder: Path) -> None:
    """Fill a model from a Hugging Face folder, in the model's dtype. Raises UserError as `HuggingFaceWeights`."""
    weights = HuggingFaceWeights(folder, model.config)
    for name, parameter in model.named_parameters():
        weights.read_into(name, 0, parameter.view(-1))
