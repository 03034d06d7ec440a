"""Whether a corpus is still what was built: every byte of every file, against the manifest's SHA-256.

Training checks the blocks that it reads; this checks all of them, names each damaged file, and says which blocks of a
shard are damaged, so that a copy of those is enough.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clapas.recipe.errors import UserError
from clapas_data.blocks import BLOCK_BYTES, CHECKSUM_DTYPE, block_count
from clapas_data.manifest import MANIFEST, Manifest, open_manifest, read_manifest, revision_name
from clapas_data.removed import mask_hash, mask_table
from clapas_data.shards import shard_files

SHOWN = 10
"""How many damaged files, and blocks of one, a message names."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One damaged file. blocks: the damaged 64 KiB blocks of a `.bin` or `.idx`, where its checksums tell."""

    path: Path
    what: str
    found: str
    wanted: str
    blocks: tuple[int, ...] = ()

    def __str__(self) -> str:
        where = ""
        if self.blocks:
            names = ", ".join(str(block) for block in self.blocks[:SHOWN])
            more = f" and {len(self.blocks) - SHOWN} more" if len(self.blocks) > SHOWN else ""
            where = f"; 64 KiB blocks {names}{more}"
        return f"{self.path}: {self.what}: found {self.found}, wanted {self.wanted}{where}"


@dataclass(frozen=True, slots=True)
class Verification:
    """What was checked. unchecked: bare shards, which nobody recorded a checksum for (their sizes were checked)."""

    files: int
    bytes: int
    unchecked: tuple[str, ...]
    damage: tuple[Damage, ...]

    def __str__(self) -> str:
        sound = self.files - len(self.damage)
        text = f"{sound} of {self.files} files sound, {self.bytes / 1e6:,.1f} MB read"
        if self.unchecked:
            text += f"; {len(self.unchecked)} bare shards have no checksums to compare with (sizes are right)"
        return text

    def raise_for_damage(self) -> None:
        """Raises one UserError that names the damaged files, where there are any."""
        if not self.damage:
            return
        lines = [str(damage) for damage in self.damage[:SHOWN]]
        if len(self.damage) > SHOWN:
            lines.append(f"... and {len(self.damage) - SHOWN} more files")
        raise UserError(
            f"{len(self.damage)} of {self.files} files damaged\n" + "\n".join(f"  {line}" for line in lines),
            way_out="copy these files again from where they are sound, or build the corpus again",
        )


@dataclass(frozen=True, slots=True)
class _Expected:
    path: Path
    size: int
    sha256: str
    crc: Path | None = None
    first_crc: int = 0


def verify(folder: Path, progress: Callable[[int, int], None] | None = None) -> Verification:
    """Read every file of a corpus and compare it with the manifest.

    progress: called with (bytes done, bytes in all) after each file. Raises UserError where there is no sound manifest;
    damage of the files that it describes is returned, not raised.
    """
    manifest = read_manifest(folder) if (folder / MANIFEST).is_file() else open_manifest(folder)
    expected = list(_expected_files(manifest))
    total = sum(file.size for file in expected)
    damage: list[Damage] = []
    done = 0
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # hashlib lets go of the GIL
        for file, found in zip(expected, pool.map(_check, expected), strict=True):
            if found is not None:
                damage.append(found)
            done += file.size
            if progress is not None:
                progress(done, total)
    damage += _wrong_revisions(manifest, {file.path for file in damage})
    unchecked = tuple(shard.path for shard in manifest.shards if shard.is_bare)
    return Verification(len(expected), total, unchecked, tuple(damage))


def _wrong_revisions(manifest: Manifest, damaged: set[Path]) -> Iterator[Damage]:
    """What is wrong with masks of removed documents, whose files are sound, and with the manifests of before."""
    for number in range(manifest.revision if manifest.removed else 0, 0, -1):
        path = manifest.folder / (MANIFEST if number == manifest.revision else revision_name(number))
        try:
            revision = read_manifest(manifest.folder, path.name)
        except UserError as error:
            yield Damage(path, "not the manifest that was kept", error.what, f"revision {number}")
            continue
        removed = revision.removed
        if removed is None or (mask := revision.folder / removed.file) in damaged:
            continue
        try:
            table = mask_table(revision.folder, removed, revision.files[removed.file].sha256)
        except (UserError, OSError) as error:
            yield Damage(mask, "altered or missing", str(error).splitlines()[0], f"the mask of revision {number}")
            continue
        found = mask_hash(*(table[name].to_pylist() for name in ("shard", "offset", "tokens")))
        counts = sum(shard.documents for shard in removed.shards.values())
        if found != removed.hash or counts != table.num_rows:
            yield Damage(mask, "not what its manifest says", f"{table.num_rows} documents", f"{counts} documents")


def _expected_files(manifest: Manifest) -> Iterator[_Expected]:
    targets = (shard.targets for shard in manifest.shards if shard.targets is not None)
    for shard in (*manifest.shards, *targets):
        if shard.bin_sha256 and shard.idx_sha256 and shard.crc_sha256:
            bin_path, idx_path, crc_path = shard_files(manifest.folder, shard)
            yield _Expected(bin_path, shard.bin_bytes, shard.bin_sha256, crc_path)
            yield _Expected(idx_path, shard.idx_bytes, shard.idx_sha256, crc_path, block_count(shard.bin_bytes))
            yield _Expected(crc_path, shard.crc_bytes, shard.crc_sha256)
    for path, file in manifest.files.items():
        yield _Expected(manifest.folder / path, file.bytes, file.sha256)


def _check(wanted: _Expected) -> Damage | None:
    try:
        with wanted.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != wanted.size:
                what = "cut short" if size < wanted.size else "too long"
                return Damage(wanted.path, what, f"{size:,} bytes", f"{wanted.size:,} bytes")
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return Damage(wanted.path, "missing", "no file", f"{wanted.size:,} bytes")
    except OSError as error:
        return Damage(wanted.path, "cannot be read", str(error), f"{wanted.size:,} bytes")
    if digest == wanted.sha256:
        return None
    return Damage(wanted.path, "altered", f"SHA-256 {digest}", wanted.sha256, _damaged_blocks(wanted))


def _damaged_blocks(wanted: _Expected) -> tuple[int, ...]:
    """The blocks whose CRC-32 differs from the recorded; none where the record itself cannot be had."""
    count = block_count(wanted.size)
    try:
        sums = np.fromfile(wanted.crc or os.devnull, dtype=CHECKSUM_DTYPE)[wanted.first_crc :][:count]
    except OSError:
        return ()
    if len(sums) < count:
        return ()
    with wanted.path.open("rb") as file:
        return tuple(block for block in range(count) if zlib.crc32(file.read(BLOCK_BYTES)) != sums[block])
