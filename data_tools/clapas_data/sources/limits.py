"""How much one document, one archive, one compressed file may be: memory stays bounded whatever comes in.

A document over the limit is left out, counted among those read and told on stderr: in terabytes of crawled text there
always is one, and a build must not stop for it after days. An archive that grows beyond all measure is refused: no
text compresses so well, and reading on would take as long as its maker liked.
"""

from __future__ import annotations

import sys

from clapas.recipe.errors import UserError

LARGEST_DOCUMENT = 100_000_000
"""Bytes, as read, of a line, row, file, page or member of an archive. Held as text, cleaned and written it takes about
ten times that in a worker's memory; a long novel is 3 MB, a whole code of law as JSON 56 MB."""
HIGHEST_RATIO = 250
"""Bytes out of one byte in. Measured: a code of law as JSON, text that repeats itself more than most, 13 under gzip and
22 under xz and bzip2. Deflate itself ends at 1,032."""
ALWAYS_READ = 256 * 2**20
"""Bytes that come out before the ratio is looked at: a short file of one letter is no attack."""


def tell_left_out(where: str, size: int | None = None) -> None:
    """Say on stderr that a document is too large. size: in bytes, None where it was not read to its end."""
    found = "too many" if size is None else f"{size:,}"
    print(f"{where}: a document of {found} bytes is left out (over {LARGEST_DOCUMENT:,})", file=sys.stderr)


def check_ratio(path: str, size: int, given: int) -> None:
    """Raise UserError where a compressed file of `size` bytes has given more than text ever would."""
    if given > ALWAYS_READ and given > HIGHEST_RATIO * size:
        raise UserError(
            "grows beyond measure: a decompression bomb?",
            where=path,
            found=f"{given:,} bytes out of {size:,}, and more to come",
            wanted=f"at most {HIGHEST_RATIO} times",
            way_out="leave the file out; or, if it is what it should be, unpack it and name what it held",
        )
