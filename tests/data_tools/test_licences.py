"""Licences that keep a model from an open release are known before it is trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clapas.recipe.hashes import content_hash
from clapas.release.licences.terms import agreement
from clapas_data.build import build
from clapas_data.corpus import Source, read_corpus, warn_of_licences
from clapas_data.licences import licence_flags

FLAGS = {
    "CC-BY-4.0": (),
    "etalab-2.0 AND Apache-2.0": (),
    "LicenseRef-public-domain": (),
    "GPL-3.0-or-later": (),
    "CC-BY-SA-4.0": (),
    "CC-BY-NC-SA-4.0": ("non-commercial",),
    "cc-by-nc-4.0": ("non-commercial",),
    "CC-BY-NC-ND-4.0": ("non-commercial", "no-derivatives"),
    "MIT AND CC-BY-ND-4.0": ("no-derivatives",),
    "MIT OR CC-BY-NC-4.0": (),
    "(CC-BY-NC-4.0 OR CC-BY-NC-ND-4.0) AND MIT": ("non-commercial",),
    "unknown": ("unknown-licence",),
    "other": ("unknown-licence",),
    "LicenseRef-proprietary": ("proprietary",),
    "All rights reserved": ("proprietary",),
    "bigscience-bloom-rail-1.0": ("use-restrictions",),
    "OpenRAIL++": ("use-restrictions",),
    "llama3.1": ("use-restrictions",),
    "Gemma": ("use-restrictions",),
    "NCSA": (),
    "Vendor-1.0": (),
}


@pytest.mark.parametrize("licence", FLAGS)
def test_flags(licence: str) -> None:
    """By the SPDX expression: all of `AND`, what both have of `OR`; what is not recognised is not judged."""
    assert licence_flags(licence) == FLAGS[licence]


def test_a_caveat_counts_as_the_licences_own() -> None:
    """Where it names a flag; the others are only said."""
    source = Source(folder=Path("a"), licence="CC-BY-4.0", caveats=("ocr", "gated", "non-commercial"))
    assert source.flags == ("non-commercial",)


def test_flags_are_said_at_build_and_stay(
    tmp_path: Path, fresh_cache: Path, test_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line a source on stderr, and facts of the manifest's source record, caveats too."""
    sources = {}
    for name, licence, caveats in (("a", "CC-BY-NC-4.0", ["ocr"]), ("b", "MIT", []), ("c", "unknown", [])):
        (tmp_path / f"{name}.txt").write_text(f"Un texte de {name}, assez long pour cela.")
        sources[name] = {"folder": str(tmp_path), "pattern": f"{name}.txt", "licence": licence, "caveats": caveats}
    path = tmp_path / "made.yaml"
    path.write_text(json.dumps({"name": "made", "sources": sources}))
    manifest = build(path, tmp_path / "out", tokenizer=test_data / "tokenizer", workers=1)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert [line.split(":")[1] for line in lines] == [" source a", " source c"]
    assert "non-commercial (licence CC-BY-NC-4.0)" in lines[0]
    facts = {name: source.model_extra or {} for name, source in manifest.sources.items()}
    said = {"origin": str(tmp_path), "extract": "plain", "flags": ["non-commercial"], "caveats": ["ocr"]}
    size = (tmp_path / "a.txt").stat().st_size
    files = {"files": 1, "bytes": size, "listing": content_hash([["a.txt", size]])}
    assert facts["a"] == said | files
    assert "flags" not in facts["b"]
    assert facts["c"]["flags"] == ["unknown-licence"]
    outcomes = {name: agreement("Apache-2.0", own.licence, "text").outcome for name, own in manifest.sources.items()}
    assert outcomes == {"a": "refused", "b": "agrees", "c": "refused"}  # at the release: of each a build has warned


def test_the_launch_corpus_can_be_released(capsys: pytest.CaptureFixture[str]) -> None:
    """What recipes/pretrain reads has no flag."""
    warn_of_licences(read_corpus("french"))
    assert capsys.readouterr().err == ""
