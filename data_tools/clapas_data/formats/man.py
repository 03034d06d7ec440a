"""Manual pages as text, by groff: a line a paragraph, no hyphenation, no page header and footer.

A page is a program. groff's safer mode lets it start no process and write no file; the requests that read other files
are removed from the language before the page begins, whatever it calls them by, so that no page shows what lies on this
machine.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

from clapas.recipe.errors import UserError
from clapas_data.formats.document import Document
from clapas_data.formats.plain import decode

TIMEOUT = 60
"""Seconds that one page may take; the longest of manpages-fr take half a second."""
LINE = 10_000
"""Characters a line: longer than any paragraph, so that none is broken."""
_READERS = (
    *("so", "mso", "nx", "cf", "trf", "soquiet", "msoquiet", "pso", "psbb", "rd", "open", "opena"),
    *("hpf", "hpfa", "hpfcode", "fp", "sy", "pi"),
)
_READS_FILES = re.compile(rf"^[.'][ \t]*(?:{'|'.join(_READERS)})\b.*$", re.M)
_WITHOUT_READERS = f".do mso an-old.tmac\n.rm {' '.join(_READERS)}\n"
"""groff's own `rm`: what is removed stays so, also under an alias, in a condition, by another control character. Before
it the macros that groff 1.22 loads only when a page begins."""
_MDOC = re.compile(r"^\.[ \t]*Dd\b", re.M)
"""The first macro of the other kind of manual pages, BSD's."""
_GROFF = ("groff", "-S", "-K", "utf8", "-T", "utf8", f"-rLL={LINE}n", "-rHY=0", "-P", "-c", "-P", "-b")
_OPTIONS = ("-P", "-o", "-P", "-u", "-d", "AD=l")


def read_man(data: bytes, name: str) -> Iterator[Document]:
    """A page as one document; none for one that only points to another. Raises UserError where there is no groff."""
    source = _READS_FILES.sub("", decode(data, name))
    if not any(line.startswith(".") and not line.startswith('.\\"') for line in source.splitlines()):
        return
    yield Document("", _paragraphs(_format(source, name)))


def _format(source: str, name: str) -> str:
    groff = shutil.which("groff")
    if groff is None:
        raise UserError("`extract: man` needs groff, which is not here", where=name, way_out="apt-get install groff")
    macros, before = ("doc", _WITHOUT_READERS.partition("\n")[2]) if _MDOC.search(source) else ("an", _WITHOUT_READERS)
    with tempfile.TemporaryDirectory(prefix="clapas-man-") as empty:
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}
        try:
            run = subprocess.run(
                [groff, "-m", macros, *_GROFF[1:], *_OPTIONS], input=(before + source).encode(),
                cwd=empty, env=environment, capture_output=True, timeout=TIMEOUT, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise UserError("groff does not come to an end", where=name, found=f"over {TIMEOUT} s") from None
    if run.returncode:
        lines = run.stderr.decode(errors="replace").strip().splitlines() or [f"exit {run.returncode}"]
        raise UserError(f"groff cannot read this page: {lines[-1]}", where=name)
    return run.stdout.decode(errors="replace")


def _paragraphs(text: str) -> str:
    """The page without its first and last line (names, dates), and without the space that set things apart.

    BSD's macros write these lines only where a page's first section is NAME.
    """
    lines = [re.sub(r" {2,}", " ", line.strip(" ")) for line in text.strip("\n").splitlines()]
    title = lines[0][: lines[0].find(")") + 1] if lines else ""
    has_both = bool(title) and lines[0].endswith(title)  # "ls(1)  Commandes  ls(1)"
    return "\n".join(lines[1:-1] if has_both else lines).strip("\n")
