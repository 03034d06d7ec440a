"""Reading a checkpoint: by slices, at any number of ranks, and only if it is whole and undamaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pydantic
import torch

from clapas.checkpoint.background import Background
from clapas.checkpoint.committed import COMMITTED, committed_checkpoints
from clapas.checkpoint.format import (
    AVERAGE,
    DTYPES,
    FORMAT,
    MANIFEST,
    MASTER,
    READABLE,
    CheckpointManifest,
    Weights,
    rank_file,
    tensor_key,
)
from clapas.checkpoint.ranks import Alone, Ranks
from clapas.checkpoint.regions import Part, region_of, shared_runs
from clapas.checkpoint.tensor_file import TensorFile
from clapas.recipe.errors import ClapasError, UserError
from clapas.recipe.hashes import file_hash


class DamagedCheckpointError(ClapasError):
    """A checkpoint whose bytes are not those that were committed."""


class CheckpointReader:
    """A committed checkpoint, verified when opened.

    verify: also every byte against its hash; False leaves that to `check_hashes`. manifest: the folder's, where it was
    read already: then nothing is checked here. Raises DamagedCheckpointError, naming the file, where a size or a hash
    differs from what was committed.
    """

    def __init__(self, folder: Path, verify: bool = True, manifest: CheckpointManifest | None = None) -> None:
        self.folder = folder
        self.manifest = manifest or _parse_manifest(_manifest_text(folder), folder)
        if manifest is None:
            self.check_sizes()
            if verify:
                self.check_hashes()
        self._open: dict[str, TensorFile] = {}

    def check_sizes(self, share: int = 0, shares: int = 1) -> None:
        """That every `shares`-th file from number `share` on is there, in its size. Raises DamagedCheckpointError."""
        for file in self.manifest.files[share::shares]:
            path = self.folder / file.name
            size = path.stat().st_size if path.is_file() else None
            if size is None:
                raise DamagedCheckpointError("missing from the checkpoint", where=path)
            if size != file.bytes:
                wanted = f"{file.bytes} bytes"
                raise DamagedCheckpointError("cut short or grown", where=path, found=f"{size} bytes", wanted=wanted)

    def check_hashes(self, share: int = 0, shares: int = 1) -> None:
        """Read every `shares`-th file from number `share` on, and compare its hash. Raises DamagedCheckpointError."""
        for file in self.manifest.files[share::shares]:
            path = self.folder / file.name
            if (found := file_hash(path)) != file.sha256:
                raise DamagedCheckpointError("altered", where=path, found=f"SHA-256 {found}", wanted=file.sha256)

    @property
    def step(self) -> int:
        """The optimizer steps done."""
        return self.manifest.step

    @property
    def recipe(self) -> dict[str, Any]:
        """The run's recipe, as resolved."""
        return self.manifest.recipe

    def names(self) -> list[str]:
        """Every parameter stored; tied ones under one name (see `manifest.aliases`)."""
        return list(self.manifest.parameters)

    def shape(self, name: str) -> tuple[int, ...]:
        """A parameter's full shape."""
        return self.manifest.parameters[self._stored(name)].shape

    def tensor(self, name: str, state: str = MASTER) -> torch.Tensor:
        """A whole parameter in one of its states (`master`: the fp32 weights)."""
        name = self._stored(name)
        record = self.manifest.parameters[name]
        full = torch.empty(torch.Size(record.shape).numel(), dtype=DTYPES[record.states[state]])
        self.read_into(name, state, 0, full)
        return full.view(record.shape)

    def weights(self, which: Weights | None = None) -> Callable[[str], torch.Tensor]:
        """A parameter's name -> its whole fp32 weights: by default the average where the run kept one.

        Raises UserError where an average is asked for and none was kept. Parameters that did not train have none.
        """
        states = self.weight_states(which)
        return lambda name: self.tensor(name, states[self._stored(name)])

    def weight_states(self, which: Weights | None = None) -> dict[str, str]:
        """Each stored parameter's name -> the state that holds the weights asked for; see `weights`."""
        parameters = self.manifest.parameters.items()
        states = {name: AVERAGE if AVERAGE in record.states else MASTER for name, record in parameters}
        if which == "average" and AVERAGE not in states.values():
            way_out = "leave --weights out, or train with optimizer.ema_decay or optimizer.name=schedule_free"
            raise UserError("this run kept no average of its weights", where=self.folder, way_out=way_out)
        return dict.fromkeys(states, MASTER) if which == "raw" else states

    @torch.no_grad()
    def read_into(self, name: str, state: str, offset: int, out: torch.Tensor, part: Part | None = None) -> None:
        """Fill `out` (flat) with elements from `offset` on, from whichever fragments hold them.

        offset: in the flattened parameter, or in the slice `part` of it, flattened.
        """
        name = self._stored(name)
        record = self.manifest.parameters[name]
        wanted = region_of(record.shape, part, offset, out.numel())
        for fragment in record.fragments:
            for in_out, in_fragment, length in shared_runs(record.shape, wanted, fragment.region):
                key = tensor_key(name, state, fragment.offset)
                self._file(fragment.file).read_into(key, in_fragment, out[in_out : in_out + length])

    def rng(self, rank: int, ranks: int) -> dict[str, torch.Tensor] | None:
        """A rank's random number generators, or None where the checkpoint was written by another number of ranks."""
        name = rank_file(rank, ranks)
        if all(file.name != name for file in self.manifest.files):
            return None
        file = self._file(name)
        return {name.removeprefix("rng|"): file.tensor(name) for name in file.names() if name.startswith("rng|")}

    def _stored(self, name: str) -> str:
        return self.manifest.aliases.get(name, name)

    def _file(self, name: str) -> TensorFile:
        if name not in self._open:
            self._open[name] = TensorFile(self.folder / name)
        return self._open[name]


@contextmanager
def verified_meanwhile(reader: CheckpointReader) -> Iterator[None]:
    """Compare the hashes in a thread while the body reads. Raises DamagedCheckpointError, whatever it made of them; a
    body that was told to end (KeyboardInterrupt, SystemExit) waits for no hash."""
    verification = Background(reader.check_hashes)
    try:
        yield
    except Exception:
        _conclude(verification)
        raise
    _conclude(verification)


def _conclude(verification: Background) -> None:
    verification.has_ended(wait=True)
    if verification.error:
        raise DamagedCheckpointError(verification.error)


def _manifest_text(folder: Path) -> str:
    """What the manifest says, if it is as it was sealed."""
    seal, path = folder / COMMITTED, folder / MANIFEST
    if not seal.is_file() or not path.is_file():
        raise DamagedCheckpointError("not a committed checkpoint", where=folder, wanted=f"{MANIFEST} and {COMMITTED}")
    if file_hash(path) != seal.read_text().strip():
        raise DamagedCheckpointError("altered: its SHA-256 is not the one in COMMITTED", where=path)
    return path.read_text()


def _parse_manifest(text: str, folder: Path) -> CheckpointManifest:
    content, path = orjson.loads(text), folder / MANIFEST
    if content.get("format") != FORMAT or content.get("version") not in READABLE:
        found = f"{content.get('format')} version {content.get('version')}"
        wanted = f"{FORMAT} version {' or '.join(map(str, READABLE))}"
        raise UserError("another checkpoint format", where=path, found=found, wanted=wanted)
    try:
        return CheckpointManifest.model_validate(content)
    except pydantic.ValidationError as error:
        raise DamagedCheckpointError(f"not a manifest: {error.errors()[0]['msg']}", where=path) from None


def is_sound(checkpoint: Path) -> bool:
    """Whether the manifest is as sealed and every file is there in its size; nothing else is read."""
    try:
        CheckpointReader(checkpoint, verify=False)
    except ClapasError:
        return False
    return True


def open_newest_sound(
    checkpoints: Path, ranks: Ranks | None = None
) -> tuple[CheckpointReader | None, list[DamagedCheckpointError]]:
    """The newest checkpoint that is undamaged (None: there is none), and what was wrong with each newer one.

    ranks: those that open it together, each of which calls this.
    """
    damaged: list[DamagedCheckpointError] = []
    together = ranks or Alone()
    there = [path.name for path in committed_checkpoints(checkpoints)] if together.rank == 0 else []
    names: list[str] = orjson.loads(together.broadcast(orjson.dumps(there).decode()) or "[]")
    for name in reversed(names):
        try:
            return open_together(checkpoints / name, together), damaged
        except DamagedCheckpointError as problem:
            damaged.append(problem)
    return None, damaged


def open_together(checkpoint: Path, ranks: Ranks) -> CheckpointReader:
    """A checkpoint whose manifest the first rank reads for all, and whose files they share the verification of.

    No rank looks at every file: 512 that do so at once are a quarter of a million questions to the file server. Raises
    DamagedCheckpointError, and UserError for a foreign format, on all of them alike.
    """
    reader = CheckpointReader(checkpoint, manifest=_manifest_together(checkpoint, ranks))
    problem = None
    try:
        reader.check_sizes(ranks.rank, ranks.size)
        reader.check_hashes(ranks.rank, ranks.size)
    except DamagedCheckpointError as found:
        problem = found
    error = ranks.agree_on_error(None if problem is None else str(problem))
    if error is not None:
        raise problem or DamagedCheckpointError(error)  # or another rank's, in its words
    return reader


def _manifest_together(checkpoint: Path, ranks: Ranks) -> CheckpointManifest:
    """The manifest as the first rank read it."""
    text, problem = None, None
    if ranks.rank == 0:
        try:
            text = _manifest_text(checkpoint)
        except DamagedCheckpointError as found:
            problem = found
    error = ranks.agree_on_error(None if problem is None else str(problem))
    if error is not None:
        raise problem or DamagedCheckpointError(error)
    return _parse_manifest(ranks.broadcast(text) or "", checkpoint)


def open_checkpoint(run_or_checkpoint: Path) -> CheckpointReader:
    """A checkpoint as given, or a run's newest sound one, verified. Raises UserError where there is none."""
    if (run_or_checkpoint / COMMITTED).is_file():
        return CheckpointReader(run_or_checkpoint)
    reader, damaged = open_newest_sound(run_or_checkpoint / "checkpoints")
    if reader is not None:
        return reader
    if damaged:
        raise damaged[0]
    raise no_checkpoint(run_or_checkpoint)


def find_checkpoint(run_or_checkpoint: Path) -> Path:
    """Where it is; one that is given is not verified. Raises as `open_checkpoint`."""
    if (run_or_checkpoint / COMMITTED).is_file():
        return run_or_checkpoint
    return open_checkpoint(run_or_checkpoint).folder


def no_checkpoint(where: Path) -> UserError:
    """That there is none."""
    return UserError(
        "no checkpoint here",
        where=where,
        wanted="a run's folder, or one of its checkpoints/step-… folders",
        way_out="`clapas train` writes them; a run that has not saved yet has none",
    )
