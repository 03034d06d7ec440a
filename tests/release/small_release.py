"""A folder that is published like a release: a small model that loads, its card and answers, two revisions, sums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.evaluate.small import write_model
from tests.release.drafts import ROOT, answer_values, write_answers

from clapas.release.publish.contents import Contents, contents_of
from clapas.release.sums import Digests, write_sums

REVISIONS = ("stage1-step5000-tokens10B", "stage1-step9000-tokens18B")


def write_release(folder: Path, version: str = "1.0.0", seed: int = 1, revisions: bool = True) -> Contents:
    """The folder, with weights of a seed. Its sums leave the revisions out, which have their own."""
    _write_model(folder, seed, version)
    values: dict[str, Any] = answer_values()
    values["model"]["version"] = version
    values["changes"] = [{**values["changes"][0], "version": version}]
    write_answers(folder / "release.yaml", values)
    (folder / "images").mkdir()
    (folder / "images/loss.png").write_bytes(b"\x89PNG\0" + bytes(range(200)))
    (folder / f"notes-{version}.txt").write_text("Fichier de cette version seule.\n")
    write_sums(folder, Digests())
    for number, name in enumerate(REVISIONS if revisions else ()):
        _write_model(folder / "revisions" / name, seed + 10 + number, name)
        write_sums(folder / "revisions" / name, Digests())
    return contents_of(folder)


def _write_model(folder: Path, seed: int, title: str) -> None:
    write_model(folder, seed=seed)
    (folder / "README.md").write_text(f"---\nlanguage: [fr]\nlicense: apache-2.0\n---\n# {title} : « œuvre »\n")
    (folder / "LICENSE").write_bytes((ROOT / "LICENSE").read_bytes())
