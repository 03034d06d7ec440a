"""Ways in which a publication goes wrong at the Hub after the upload: check 24 must name each.

These need a Hub, so they are run by `run_upload_mutants`, and not by the runner of drafts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.release.loopback_hub import LoopbackHub
from tests.release.loopback_store import Entry, Repository

from clapas.release.gate.check import Verdict
from clapas.release.gate.checks.upload import judge_upload
from clapas.release.publish.contents import Contents
from clapas.release.publish.hub import Reader, look, publish
from clapas.release.publish.remote import Remote

REPO = "clapas/clapas-demo"
BRANCH = "stage1-step5000-tokens10B"


@dataclass(frozen=True)
class UploadMutant:
    """name: what is broken, in words. named: what the check must say of it."""

    name: str
    named: str
    break_: Callable[[LoopbackHub, Repository], object]


def commit(
    repository: Repository, branch: str, change: Callable[[dict[str, Entry]], object], tags: bool = True
) -> None:
    """A commit by another hand; tags follow it, unless that is what is broken."""
    before = repository.branches[branch]
    files = dict(repository.commits[before].files)
    change(files)
    repository.branches[branch] = repository.commit(before, files, "by hand").id
    if tags:
        repository.tags.update(
            {name: repository.branches[branch] for name, at in repository.tags.items() if at == before}
        )


def _corrupt(hub: LoopbackHub, repository: Repository) -> None:
    digest = repository.commits[repository.branches["main"]].files["model.safetensors"].sha256
    assert digest is not None
    content = bytearray(hub.objects[digest])
    content[len(content) // 2] ^= 1
    hub.objects[digest] = bytes(content)


def _cut_short(hub: LoopbackHub, repository: Repository) -> None:
    digest = repository.commits[repository.branches["main"]].files["model.safetensors"].sha256
    assert digest is not None
    hub.objects[digest] = hub.objects[digest][:-4096]


def _corrupt_small(_: LoopbackHub, repository: Repository) -> None:
    oid = repository.commits[repository.branches["main"]].files["config.json"].oid
    repository.blobs[oid] = repository.blobs[oid].replace(b"32", b"64")


def _other_weights(hub: LoopbackHub, repository: Repository) -> None:
    other = repository.commits[repository.branches[BRANCH]].files["model.safetensors"]
    commit(repository, "main", lambda files: files.update({"model.safetensors": other}))


MUTANTS = [
    UploadMutant("a bit of the stored weights is flipped", "main: model.safetensors is SHA-256", _corrupt),
    UploadMutant("the stored weights are cut short", "main: model.safetensors is SHA-256", _cut_short),
    UploadMutant("a small file's bytes are others than git's name for them", "main: config.json is", _corrupt_small),
    UploadMutant("main's weights are those of a revision", "main: model.safetensors is", _other_weights),
    UploadMutant(
        "a file is missing on main",
        "main: LICENSE is missing",
        lambda hub, repository: commit(repository, "main", lambda files: files.pop("LICENSE")),
    ),
    UploadMutant(
        "a file that was not released is on main",
        "main: pytorch_model.bin is not part of the release",
        lambda hub, repository: commit(
            repository, "main", lambda files: files.update({"pytorch_model.bin": repository.blob(b"pickle")})
        ),
    ),
    UploadMutant(
        "the card was edited on the web",
        "main: README.md is SHA-256",
        lambda hub, repository: commit(
            repository, "main", lambda files: files.update({"README.md": repository.blob(b"# Better than all\n")})
        ),
    ),
    UploadMutant(
        "the tag names the first commit",
        "tag 1.0.0: ",
        lambda hub, repository: repository.tags.update({"1.0.0": [*repository.history("main")][-1].id}),
    ),
    UploadMutant(
        "main went on, and the tag did not",
        "tag 1.0.0: ",
        lambda hub, repository: commit(repository, "main", lambda files: None, tags=False),
    ),
    UploadMutant("there is no tag", "tag 1.0.0: missing", lambda hub, repository: repository.tags.clear()),
    UploadMutant(
        "a revision's branch is missing",
        f"{BRANCH}: missing",
        lambda hub, repository: repository.branches.pop(BRANCH),
    ),
    UploadMutant(
        "a revision's weights are missing",
        f"{BRANCH}: model.safetensors is missing",
        lambda hub, repository: commit(repository, BRANCH, lambda files: files.pop("model.safetensors")),
    ),
]


def verdict_of(hub: LoopbackHub, contents: Contents) -> Verdict:
    """Check 24 on what a Hub holds now."""
    return judge_upload(*look(Reader(Remote(REPO, hub.url)), contents))


def run_upload_mutants(contents: Contents) -> dict[str, bool]:
    """Publish a release, break it at the Hub in each way, and look: the mutant's name -> whether it was named, where
    nothing was found before it was broken. HF_TOKEN must be the loopback Hub's, and waits must not take time."""
    caught: dict[str, bool] = {}
    with LoopbackHub() as hub:
        publish(contents, REPO, endpoint=hub.url)
        repository = hub.repositories[REPO]
        branches, tags = dict(repository.branches), dict(repository.tags)
        blobs, objects = dict(repository.blobs), dict(hub.objects)
        for mutant in MUTANTS:
            passed = verdict_of(hub, contents).status == "pass"
            mutant.break_(hub, repository)
            broken = verdict_of(hub, contents)
            caught[mutant.name] = passed and broken.status == "fail" and any(mutant.named in s for s in broken.said)
            repository.branches, repository.tags = dict(branches), dict(tags)
            repository.blobs, hub.objects = dict(blobs), dict(objects)
    return caught
