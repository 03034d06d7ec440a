"""What all kinds share: a source's identity, and one that changes or vanishes while it is read."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clapas.recipe.errors import UserError
from clapas_data.chunks import write_chunk
from clapas_data.sources import read_part, source_identity, source_parts
from clapas_data.steps.c4 import C4
from clapas_data.steps.deduplicate import Near
from clapas_data.steps.language import Language
from clapas_data.steps.repair import Repair
from reading import files, lines_of, texts

MANY = [f"texte numéro {n} " * 50 for n in range(1000)]


def write(path: Path) -> Path:
    """A file of many documents, by its ending."""
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": MANY}), path, row_group_size=100, compression="none")
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for number, text in enumerate(MANY):
                archive.writestr(f"{number}.txt", text)
    else:
        data = lines_of(MANY)
        path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet", "a.zip", "a.txt"])
@pytest.mark.parametrize("change", ["remove", "cut", "grow", "edit"])
def test_a_source_that_changes_while_it_is_read(tmp_path: Path, name: str, change: str) -> None:
    """Between listing and reading, or in the middle: the file is named, with the true reason; no half chunk stays."""
    changes = {
        "remove": lambda path: path.unlink(),
        "cut": lambda path: path.open("r+b").truncate(path.stat().st_size // 2),
        "grow": lambda path: path.open("ab").write(b"\n"),
        "edit": lambda path: path.write_bytes(path.read_bytes()),
    }
    what = "vanished" if change == "remove" else "changed"
    for meanwhile in (False, True):
        path = write(tmp_path / name)
        (part,) = source_parts("made", files(path))
        documents = read_part(part)

        def reading(documents=documents, path=path, meanwhile=meanwhile):
            if meanwhile:
                yield next(documents)
            changes[change](path)
            yield from documents

        with pytest.raises(UserError, match=rf"{name}: {what} while the source was read(.|\n)*wanted"):
            write_chunk(tmp_path / "chunk.arrow", reading())
        assert not list(tmp_path.glob("*chunk*"))
        path.unlink(missing_ok=True)


def test_a_file_that_two_globs_name_is_read_once(tmp_path: Path) -> None:
    """In the place of the first."""
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_bytes(lines_of([name]))
    assert texts(files(tmp_path / "b.jsonl", tmp_path / "*.jsonl")) == ["b", "a"]


def test_identity_follows_content(tmp_path: Path) -> None:
    """A changed file is another source; what is said of it, licence, caveats and weight, is not of the text."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines_of(["un"]))
    before = source_identity("a", files(path))
    said = {"licence": "other", "weight": 2.0, "caveats": ("ocr",), "note": "mot", "domain": "law"}
    assert source_identity("b", files(path).model_copy(update=said)) == before
    path.write_bytes(lines_of(["un", "deux"]))
    assert source_identity("a", files(path)) != before


def test_identity_follows_what_finds_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a page another version of trafilatura finds another text; a model, another language."""
    path = tmp_path / "a.html"
    path.write_text("<p>un")
    page = files(path).model_copy(update={"extract": "page"})
    sure = [source_identity("a", files(path)), C4().identity()]
    found = [source_identity("a", page), Repair().identity(), Language().identity(), Near().identity()]
    monkeypatch.setattr("clapas_data.optional.version", lambda package: f"another {package}")
    assert [source_identity("a", files(path)), C4().identity()] == sure
    others = [source_identity("a", page), Repair().identity(), Language().identity(), Near().identity()]
    assert not [one for one, other in zip(found, others, strict=True) if one == other]
