"""Files and folders appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas.recipe.files import atomic_write, new_folder


def test_a_failed_folder_leaves_nothing(tmp_path: Path) -> None:
    """An error while building removes what was built."""

    def build_half() -> None:
        with new_folder(tmp_path / "out") as folder:
            (folder / "file").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        build_half()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_appears_at_the_end(tmp_path: Path) -> None:
    """Nothing is visible under the name before."""
    with new_folder(tmp_path / "out") as folder:
        (folder / "file").write_text("whole")
        assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out/file").read_text() == "whole"


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    """The rename is last."""
    path = tmp_path / "file"
    atomic_write(path, "old")
    with pytest.raises(TypeError):
        atomic_write(path, 3)  # type: ignore[arg-type]  # what a write that fails looks like
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
