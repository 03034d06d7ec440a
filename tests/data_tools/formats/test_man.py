"""Manual pages: paragraphs on a line, and no file of this machine in any of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clapas.recipe.errors import UserError
from clapas_data.formats import extract_file

PAGE = r""".\" un commentaire
.TH ESSAI 1 "2024" "GNU" "Manuel"
.SH NOM
essai \- une page d\(cqessai
.SH DESCRIPTION
Un long paragraphe qui est \fBimportant\fP et que groff coupe d'ordinaire à quatre-vingts colonnes, avec des traits
d'union si cela lui plaît, ce que l'on ne veut pas ici.
.TP
.B \-a
une option
"""
needs_groff = pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not here")


@needs_groff
def test_a_page() -> None:
    """A paragraph is a line; headings stay, names and dates at the edges go."""
    (found,) = extract_file("man", PAGE.encode(), "essai.1")
    lines = [line for line in found.text.splitlines() if line]
    assert lines[:3] == ["NOM", "essai - une page d’essai", "DESCRIPTION"]
    assert lines[3].startswith("Un long paragraphe qui est important et")
    assert lines[3].endswith("pas ici.")
    assert lines[4:] == ["-a une option"]


@needs_groff
def test_a_page_reads_no_other_file(tmp_path: Path) -> None:
    """Not by a request for it, and a page that is nothing but a pointer to another is none."""
    secret = tmp_path / "secret"
    secret.write_text("mot de passe\n")
    for request in ("so", "mso", "nx", "cf", "trf", " so"):
        (found,) = extract_file("man", f"{PAGE}.{request} {secret}\nfin\n".encode(), "essai.1")
        assert "mot de passe" not in found.text
    hidden = ("if 1 .so", "if 1 'nx", "do mso", "nop a\n.ie 0 b\n.el .so", "als X so\n.X", "rn nx Y\n.Y", "c2 !\n!so")
    for request in (*hidden, "ds s so\n.\\*s", "if 1 .trf", "cc !\n!so"):
        (found,) = extract_file("man", f"{PAGE}.{request} {secret}\nfin\n".encode(), "essai.1")
        assert "mot de passe" not in found.text
    assert list(extract_file("man", b".so man1/ls.1\n", "dir.1")) == []


def test_a_page_of_bsds_kind_too(tmp_path: Path) -> None:
    """It has other macros, and what a page of Linux's kind may not do it may not either."""
    (tmp_path / "secret").write_text("mot de passe\n")
    page = f".Dd May 1, 2020\n.Dt A 1\n.Os\n.Sh NOM\n.Nm a\n.Nd b\n.Sh TEXTE\nUn mot.\n.if 1 .so {tmp_path}/secret\n"
    (found,) = extract_file("man", page.encode(), "a.1")
    assert found.text.splitlines() == ["NOM", "a — b", "", "TEXTE", "Un mot."]


def test_without_groff(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The message says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"essai\.1: `extract: man` needs groff(.|\n)*apt-get install groff"):
        list(extract_file("man", PAGE.encode(), "essai.1"))
