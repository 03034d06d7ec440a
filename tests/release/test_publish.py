"""A release on a Hub is whole or not there: order, repetition, versions, and what befalls the line."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from tests.release.loopback_hub import TOKEN, LoopbackHub
from tests.release.loopback_store import Repository
from tests.release.mutations.upload import MUTANTS, REPO, run_upload_mutants
from tests.release.small_release import REVISIONS, write_release

from clapas.recipe.errors import UserError
from clapas.release.publish.contents import Contents
from clapas.release.publish.hub import publish
from clapas.release.publish.patience import HubError, LineError
from clapas.release.publish.record import UploadError

WEIGHTS = "PUT /lfs/"


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """A release of version 1.0.0. Read it, do not change it."""
    return write_release(tmp_path_factory.mktemp("release") / "demo")


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    """An empty Hub, which takes weights in parts."""
    with LoopbackHub(part_size=30_000) as hub:
        yield hub


@pytest.fixture(autouse=True)
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The token is set; waits are written down instead of waited for."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


def held(hub: LoopbackHub, revision: str) -> dict[str, bytes]:
    """The bytes of all files of a revision, without what the Hub adds."""
    repository = hub.repositories[REPO]
    commit = repository.resolve(revision)
    assert commit is not None
    return {name: hub.content(repository, name, revision) for name in commit.files if name != ".gitattributes"}


def wanted(part_folder: Path) -> dict[str, bytes]:
    """The bytes of a folder's files, without its revisions."""
    files = (path for path in part_folder.rglob("*") if path.is_file())
    names = {path.relative_to(part_folder).as_posix(): path for path in files}
    return {name: path.read_bytes() for name, path in names.items() if not name.startswith("revisions/")}


def titles(repository: Repository, branch: str = "main") -> list[str]:
    """Of its commits, the newest first."""
    return [commit.title for commit in repository.history(branch)]


def test_main_branches_and_tag_hold_the_release(hub: LoopbackHub, contents: Contents) -> None:
    """Byte for byte; no staging branch is left; one commit on main; weights went in parts; the record says it all."""
    published = publish(contents, REPO, endpoint=hub.url)
    repository = hub.repositories[REPO]
    assert set(repository.branches) == {"main", *REVISIONS}
    assert held(hub, "main") == held(hub, "1.0.0") == wanted(contents.folder)
    for name in REVISIONS:
        assert held(hub, name) == wanted(contents.folder / "revisions" / name)
    assert titles(repository) == ["Version 1.0.0", "initial commit"]
    assert hub.sent == sum(part.files["model.safetensors"].size for part in contents.parts) + len(
        held(hub, "main")["images/loss.png"]
    )
    assert any(call.endswith("/complete") for call in hub.calls)
    record = orjson.loads(contents.folder.with_name("demo.publication.json").read_bytes())["places"][published.where]
    assert record["files"]["main"]["model.safetensors"] == contents.main.files["model.safetensors"].sha256
    assert record["revisions"]["main"] == repository.branches["main"] == repository.tags["1.0.0"]
    assert record["check"]["status"] == "pass"
    assert record["downloaded"] == sum(len(part.files) for part in contents.parts)
    assert TOKEN not in contents.folder.with_name("demo.publication.json").read_text()


def test_doing_it_again_changes_nothing(hub: LoopbackHub, contents: Contents) -> None:
    """No commit, no byte sent, the first date kept; it says so."""
    first = publish(contents, REPO, endpoint=hub.url)
    before = dict(hub.repositories[REPO].branches), set(hub.repositories[REPO].commits), hub.sent
    again = publish(contents, REPO, endpoint=hub.url)
    assert (dict(hub.repositories[REPO].branches), set(hub.repositories[REPO].commits), hub.sent) == before
    assert (again.already, again.published) == (True, first.published)
    assert again.table().startswith("already there: version 1.0.0 at")


def test_a_new_version_replaces_files_in_one_commit(hub: LoopbackHub, contents: Contents, tmp_path: Path) -> None:
    """What the old one had alone is gone from main, in the same commit, and stays under its tag."""
    publish(contents, REPO, endpoint=hub.url)
    new = write_release(tmp_path / "new", "1.1.0", seed=2)
    publish(new, REPO, endpoint=hub.url)
    assert held(hub, "main") == held(hub, "1.1.0") == wanted(new.folder)
    assert held(hub, "1.0.0") == wanted(contents.folder)
    assert titles(hub.repositories[REPO]) == ["Version 1.1.0", "Version 1.0.0", "initial commit"]
    with pytest.raises(UserError, match="published, and main has changed since"):
        publish(contents, REPO, endpoint=hub.url)
    assert held(hub, "main") == wanted(new.folder)


def test_a_version_is_never_replaced(hub: LoopbackHub, contents: Contents, tmp_path: Path) -> None:
    """Other weights under the same version are refused, with their name; nothing is sent."""
    publish(contents, REPO, endpoint=hub.url)
    other = write_release(tmp_path / "other", "1.0.0", seed=3)
    sent = hub.sent
    with pytest.raises(UserError, match=r"1\.0\.0 is published already[\s\S]*model\.safetensors"):
        publish(other, REPO, endpoint=hub.url)
    assert hub.sent == sent
    assert held(hub, "main") == wanted(contents.folder)


def test_somebody_elses_repository_is_refused(hub: LoopbackHub, contents: Contents) -> None:
    """What is no release is not removed."""
    publish(contents, REPO, endpoint=hub.url)
    repository = hub.repositories[REPO]
    thesis = repository.commit(None, {"these.tex": repository.blob(b"x")}, "thesis")
    repository.branches, repository.tags = {"main": thesis.id}, {}
    with pytest.raises(UserError, match=r"would remove it[\s\S]*these\.tex"):
        publish(contents, REPO, endpoint=hub.url)
    assert repository.branches == {"main": thesis.id}


def test_a_private_repository_is_made_private(hub: LoopbackHub, contents: Contents) -> None:
    """And read back with the token."""
    publish(contents, REPO, endpoint=hub.url, private=True)
    assert hub.repositories[REPO].private


def test_a_machine_told_to_stay_offline_is_asked(contents: Contents, monkeypatch: pytest.MonkeyPatch) -> None:
    """As sites' job scripts tell it: refused before anything is sent."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="unset HF_HUB_OFFLINE"):
        publish(contents, REPO)


def test_a_wrong_token_is_one_message(hub: LoopbackHub, contents: Contents, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2, and the token is not repeated; none at all is refused before any call."""
    wrong = "hf_" + "x" * 32
    monkeypatch.setenv("HF_TOKEN", wrong)
    with pytest.raises(UserError, match="does not accept the token") as refused:
        publish(contents, REPO, endpoint=hub.url)
    assert wrong not in str(refused.value)
    monkeypatch.delenv("HF_TOKEN")
    asked = hub.calls.total()
    with pytest.raises(UserError, match="no token"):
        publish(contents, REPO, endpoint=hub.url)
    assert hub.calls.total() == asked


FAULTS = {
    "503 on a part": (rf"{WEIGHTS}\w+/2", {"kind": "status", "times": 3}),
    "503 on the commit": (r"POST .*/commit/main", {"kind": "status", "times": 2}),
    "503 on the refs": (r"GET .*/refs", {"kind": "status", "times": 4}),
    "the repository's creation is refused for now": (r"POST /api/repos/create", {"kind": "status", "times": 1}),
    "a connection cut while a part is sent": (rf"{WEIGHTS}\w+/1", {"kind": "cut request", "times": 2}),
    "a connection cut while a commit is sent": (r"POST .*/commit/clapas", {"kind": "cut request"}),
    "a connection cut while weights are read back": (r"GET .*model.safetensors", {"kind": "cut answer", "times": 2}),
    "a commit whose answer is lost": (r"POST .*/commit/main", {"kind": "lose answer"}),
    "a branch whose answer is lost": (r"POST .*/branch/stage1", {"kind": "lose answer", "times": 2}),
    "a tag whose answer is lost": (r"POST .*/tag/", {"kind": "lose answer"}),
    "refs of before the last commit": (r"GET .*/refs", {"kind": "stale", "times": 2, "after": 8}),
    "a conflict that is none": (r"POST .*/commit/main", {"kind": "status", "status": 409}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_befalls_the_line_is_outlasted(hub: LoopbackHub, contents: Contents, fault: str) -> None:
    """The publication is the same, with one commit of its own on main."""
    call, facts = FAULTS[fault]
    hub.faults.add(call, **facts)
    publish(contents, REPO, endpoint=hub.url)
    assert hub.faults.struck == facts.get("times", 1)
    assert held(hub, "main") == held(hub, "1.0.0") == wanted(contents.folder)
    assert titles(hub.repositories[REPO]) == ["Version 1.0.0", "initial commit"]
    assert set(hub.repositories[REPO].branches) == {"main", *REVISIONS}


def test_the_server_says_how_long_to_wait(hub: LoopbackHub, contents: Contents, waited: list[float]) -> None:
    """Retry-After is kept; one of an hour is told instead."""
    hub.faults.add(r"GET .*/refs", "status", status=429, headers={"Retry-After": "17"})
    publish(contents, REPO, endpoint=hub.url)
    assert 17 in waited
    hub.faults.add(r"GET .*/refs", "status", status=429, headers={"Retry-After": "3600"})
    with pytest.raises(LineError, match="come back in 3600 s"):
        publish(contents, REPO, endpoint=hub.url)
    assert max(waited) < 3600


def test_a_dead_line_is_given_up_and_gone_on_with(hub: LoopbackHub, contents: Contents, waited: list[float]) -> None:
    """Bounded; the weights that had arrived are not sent again."""
    hub.faults.add(r"POST .*/commit/", "status", times=10**6)
    with pytest.raises(LineError, match="run the same command again"):
        publish(contents, REPO, endpoint=hub.url)
    assert sum(waited) < 600
    assert titles(hub.repositories[REPO]) == ["initial commit"]
    hub.faults.waiting.clear()
    hub.sent = 0
    publish(contents, REPO, endpoint=hub.url)
    first = contents.parts[0].files["model.safetensors"].size
    assert 0 < hub.sent <= sum(part.files["model.safetensors"].size for part in contents.parts) - first + 1000
    assert held(hub, "main") == wanted(contents.folder)


def test_bytes_spoiled_on_the_way_never_reach_main(hub: LoopbackHub, contents: Contents) -> None:
    """Found when read back, by name; main and the tag are not touched."""
    hub.faults.add(rf"{WEIGHTS}\w+/3", "corrupt", after=2)  # the third part of the release's own weights
    with pytest.raises(UploadError, match=r"main was not touched[\s\S]*main: model\.safetensors is SHA-256"):
        publish(contents, REPO, endpoint=hub.url)
    repository = hub.repositories[REPO]
    assert titles(repository) == ["initial commit"]
    assert not repository.tags
    assert not set(REVISIONS) & set(repository.branches)


def test_another_who_changes_main_meanwhile_is_not_overwritten(hub: LoopbackHub, contents: Contents) -> None:
    """The commit is refused by its parent, and the publication stops."""

    def interfere() -> None:
        repository = hub.repositories[REPO]
        head = repository.commits[repository.branches["main"]]
        repository.branches["main"] = repository.commit(head.id, {"autre.txt": repository.blob(b"x")}, "other").id

    hub.faults.add(r"POST .*/commit/main", "call", then=interfere)
    with pytest.raises(HubError, match="changed by another"):
        publish(contents, REPO, endpoint=hub.url)
    assert titles(hub.repositories[REPO]) == ["other", "initial commit"]


def test_a_metadata_error_of_the_card_is_the_hubs_word(hub: LoopbackHub, tmp_path: Path) -> None:
    """A card that the Hub does not read is refused before any weights are sent."""
    contents = write_release(tmp_path / "demo", revisions=False)
    (tmp_path / "demo/README.md").write_text("---\n[\n---\n")
    with pytest.raises(HubError, match=r"Invalid metadata in README"):
        publish(contents, REPO, endpoint=hub.url)
    assert hub.sent == 0


def test_quick_takes_the_hubs_word_for_large_files(hub: LoopbackHub, contents: Contents) -> None:
    """Small ones are downloaded all the same."""
    published = publish(contents, REPO, endpoint=hub.url, quick=True)
    assert not any(call.startswith("GET") and call.endswith("model.safetensors") for call in hub.calls)
    assert published.downloaded == sum(len(part.files) - 1 for part in contents.parts) - 1  # and images/loss.png


def test_check_24_names_every_mutant(contents: Contents) -> None:
    """Each way to spoil a publication at the Hub."""
    caught = run_upload_mutants(contents)
    assert len(caught) == len(MUTANTS) >= 12
    assert [name for name, found in caught.items() if not found] == []


def test_a_revision_cannot_be_called_main(tmp_path: Path) -> None:
    """It would be the release itself."""
    write_release(tmp_path / "demo", revisions=False)
    shutil.copytree(tmp_path / "demo", tmp_path / "copy")
    shutil.move(tmp_path / "copy", tmp_path / "demo/revisions/main")
    from clapas.release.publish.contents import contents_of

    with pytest.raises(UserError, match="cannot have this name"):
        contents_of(tmp_path / "demo")
