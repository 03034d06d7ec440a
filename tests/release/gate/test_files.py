"""Check 1: which files a release has, and what never stands in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clapas.release.gate.check import Draft, Verdict
from clapas.release.gate.checks.files import BINARY, DOCUMENTS, MODEL, PAPERS, SEAL, check_files, paths_in
from clapas.release.licences.texts import FOLDER
from release.drafts import small_answers, small_evidence

HF_TOKEN = "hf_" + "aB3" * 12
GITHUB_TOKEN = "github_pat_" + "aB3" * 12


@pytest.fixture
def draft(trained_run: Path, tmp_path: Path) -> Draft:
    """A stranger's folder with every file that a release must have, and little in each."""
    folder = tmp_path / "model"
    for name in (*MODEL, *PAPERS, *DOCUMENTS, *SEAL, "model.safetensors"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(BINARY.get(path.suffix, b"{}"))
    return Draft(folder, small_evidence(trained_run), small_answers(), None, None)


def said(draft: Draft) -> str:
    """What is wrong, as one text; empty where the check passes."""
    verdict: Verdict = check_files(draft)
    return "\n".join(verdict.said) if verdict.status == "fail" else ""


def test_a_whole_folder_passes(draft: Draft) -> None:
    """With what is there only sometimes, and with what the Hub's client puts beside it."""
    for name in ("gguf/m-q8_0.gguf", "evaluations/001-probes.json", "evaluations/001-probes.items.jsonl", "model.pub"):
        (draft.folder / name).parent.mkdir(exist_ok=True)
        (draft.folder / name).write_bytes(b"GGUF" if name.endswith("gguf") else b"{}")
    (draft.folder / ".cache/huggingface").mkdir(parents=True)
    (draft.folder / ".cache/huggingface/x.metadata").touch()
    assert said(draft) == ""


@pytest.mark.parametrize("name", [MODEL[0], PAPERS[0], DOCUMENTS[0], SEAL[0], "documents/data-card.fr.md"])
def test_a_missing_file_is_named(draft: Draft, name: str) -> None:
    """Of each kind."""
    (draft.folder / name).unlink()
    assert said(draft) == f"{name} is missing"


def test_a_revision_needs_no_documents(draft: Draft) -> None:
    """But weights and their card."""
    for name in DOCUMENTS:
        (draft.folder / name).unlink()
    draft.is_revision = True
    assert said(draft) == ""
    (draft.folder / "model.safetensors").unlink()
    assert said(draft) == "there are no weights: *.safetensors"


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("modeling_clapas.py", b"", "is code"),
        ("training_args.bin", b"", "can run code"),
        ("optimizer.json", b"{}", "is no file of a release"),
        ("more/model.safetensors", b"", "is no file of a release"),
        ("images/loss.png", b"\x80\x04", "is no PNG file"),
        ("gguf/m-q8_0.gguf", b"\x80\x04", "is no GGUF file"),
        ("NOTICE", b"\x80\x04\x95", "is no text"),
        ("NOTICE", b"#!/bin/sh\n", "is a script"),
        ("release.json", b"{", "does not parse"),
        ("release.yaml", b"a: [", "does not parse"),
        ("config.json", b'{"a": {"b": 1, "c": 2, "b": 1}}', "does not parse: it says b twice"),
        ("evaluations/001-x.items.jsonl", b"{}\n{\n", "does not parse"),
        ("README.md", f"jeton {HF_TOKEN}".encode(), "holds a secret: a Hugging Face token"),
        ("release.json", f'{{"x": "a\\n{GITHUB_TOKEN}"}}'.encode(), "holds a secret: a GitHub token"),
        ("evidence.json", b'{"path": "a\\n/home/anne/runs/demo"}', "holds an absolute path: /home/anne/runs/demo"),
    ],
)
def test_what_does_not_belong_is_named(draft: Draft, name: str, content: bytes, wanted: str) -> None:
    """One sentence, which names the file."""
    (draft.folder / name).parent.mkdir(exist_ok=True)
    (draft.folder / name).write_bytes(content)
    assert said(draft).startswith(name)
    assert wanted in said(draft)


@pytest.mark.parametrize("make", [lambda p: p.symlink_to("config.json"), lambda p: p.symlink_to("documents")])
def test_a_symbolic_link_is_named(draft: Draft, make: Callable[[Path], None]) -> None:
    """To a file or to a folder; it is not followed."""
    make(draft.folder / "model-00001-of-00001.safetensors")
    assert said(draft) == "model-00001-of-00001.safetensors is a symbolic link"


@pytest.mark.parametrize(
    "text",
    [
        "https://exemple.fr/home/anne/x, ou http://h/tmp/y",
        "poids/biais, et/ou, 12/2025, text/plain, n/a",
        "#/definitions/home/x <a href=https://h/work/z>",
        "../documents/data-card.fr.md, ./images/loss.png, ~/models/x",
        "doi.org/10.5281/zenodo.1, <b>fin</b></p>, s3://seau/a/b, //exemple.fr/a/b, 100 % / an / site",
        "/usr/bin/python3 et /etc/hosts, A:\\nB",
    ],
)
def test_addresses_and_fractions_are_no_paths(text: str) -> None:
    """Nor what is the same on every machine."""
    assert list(paths_in(text)) == []


@pytest.mark.parametrize(
    "text",
    ["(/home/anne/x)", "de /scratch/project_1/run", "file:///data/x", r"C:\Users\anne", "/gpfswork/rech/x",
     "node01:/data/x", "a=/Volumes/x/y", "</softs/x>", "*/sps/x*", "cc -I/softs/x", "file:/x", "%2Fsps%2fx",
     r"d:\donnees\x", r"\\serveur\partage"],
)  # fmt: skip
def test_paths_of_machines_are_found(text: str) -> None:
    """Of workstations and of supercomputers."""
    assert len(list(paths_in(text))) == 1


def test_raw_text_may_hold_paths_but_none_of_this_machine() -> None:
    """Where it is made; elsewhere nobody can tell."""
    own = f"{Path.cwd()}/runs/demo"
    assert list(paths_in(f"{own} /home/anne/x", is_raw=True, is_here=True)) == [own]
    assert list(paths_in(own, is_raw=True)) == []


def test_our_licences_and_documents_hold_no_path() -> None:
    """Those that every release ships."""
    texts = [path.read_text() for path in FOLDER.iterdir() if path.suffix == ".txt"]
    assert texts
    assert [path for text in texts for path in paths_in(text)] == []


def test_a_folder_of_revisions_in_a_revision_is_looked_at(draft: Draft) -> None:
    """Nothing else would; and a revision has no documents or GGUF that no check reads."""
    draft.is_revision = True
    (draft.folder / "revisions").mkdir()
    (draft.folder / "revisions/run.py").touch()
    assert "revisions/run.py is code" in said(draft)
    assert "documents/bom.cdx.json is no file of a release" in said(draft)
