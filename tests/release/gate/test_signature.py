"""Check 23: a copy of the sealed folder is verified by tools of others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clapas.release.gate.check import Draft, Verdict
from clapas.release.gate.checks.signature import SMALL, check_signature
from clapas.release.keys import generate_key
from clapas.release.layout import REVISIONS, SUMS
from clapas.release.signature import LocalKey, seal, sign, signed_files
from clapas.release.sums import Digests
from release.drafts import small_answers, small_evidence

STEP = f"{REVISIONS}/stage1-step2-tokens1k"


@pytest.fixture(scope="module")
def sealed(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Draft:
    """A release of two files, one large enough to be linked, with a revision. Read it, do not change it."""
    place = tmp_path_factory.mktemp("sealed")
    generate_key(place / "key")
    folder = place / "model"
    (folder / STEP).mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(SMALL + 1))
    (folder / "release.json").write_text("{}\n")
    (folder / STEP / "model.safetensors").write_bytes(b"x")
    for part in (folder / STEP, folder):
        seal(part, Digests(), LocalKey(place / "key/key.pem"), "m")
    return Draft(folder, small_evidence(trained_run), small_answers(), None, None, revisions=(STEP,))


def look(sealed: Draft, folder: Path) -> Verdict:
    """At a copy."""
    return check_signature(Draft(folder, sealed.evidence, sealed.answers, None, None))


def test_a_sealed_folder_passes(sealed: Draft) -> None:
    """Its copy leaves nothing behind; before it is sealed there is nothing to run on."""
    before = sorted(sealed.folder.parent.iterdir())
    assert check_signature(sealed).status == "pass"
    assert sorted(sealed.folder.parent.iterdir()) == before
    assert look(sealed, sealed.folder.parent).status == "not-run"


def test_sums_are_compared_where_an_identity_signed(sealed: Draft, tmp_path: Path) -> None:
    """Who signed is known online alone; what was signed is seen here."""
    copy = Path(shutil.copytree(sealed.folder, tmp_path / "copy"))
    for folder in (copy, copy / STEP):
        (folder / "model.sig").write_text('{"verificationMaterial": {"certificate": {"rawBytes": ""}}}')
    assert look(sealed, copy).status == "pass"
    (copy / "release.json").write_text("[]\n")
    assert look(sealed, copy).said == ("release.json is not what SHA256SUMS says",)


def test_a_revision_is_looked_at_too(sealed: Draft, tmp_path: Path) -> None:
    """And named. What is found of the release itself: `test_mutants`."""
    copy = Path(shutil.copytree(sealed.folder, tmp_path / "copy"))
    (copy / STEP / "model.safetensors").write_bytes(b"y")
    verdict = look(sealed, copy)
    assert verdict.status == "fail"
    assert all(said.startswith(STEP) for said in verdict.said)


def test_a_file_that_no_sum_is_of_is_named(sealed: Draft, tmp_path: Path) -> None:
    """Although the signature, made over these sums, verifies: `sha256sum -c` alone would not look at it."""
    copy = Path(shutil.copytree(sealed.folder, tmp_path / "copy"))
    sums = (copy / SUMS).read_text().splitlines(keepends=True)
    (copy / SUMS).write_text("".join(line for line in sums if not line.endswith("release.json\n")))
    key = LocalKey(sealed.folder.parent / "key/key.pem")
    sign(copy, Digests().of(copy, signed_files(copy)), key, "m")
    assert look(sealed, copy).said == ("release.json is not in SHA256SUMS",)
