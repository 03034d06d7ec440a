"""The calls that a loopback Hub answers, one function each: (status, headers, body)."""

from __future__ import annotations

import base64
import fnmatch
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import orjson
import yaml
from tests.release import loopback_lfs
from tests.release.loopback_store import Answer, Commit, Entry, Refused, Repository, said

if TYPE_CHECKING:
    from tests.release.loopback_hub import Asked

Route = Callable[["Asked"], Answer]
PAGE = 8
"""Entries of a page of a tree: few, so that clients must turn pages."""


def create(asked: Asked) -> Answer:
    """A new repository, with its first commit."""
    if not asked.authorised:
        raise Refused(401, "Invalid credentials in Authorization header")
    repo = f"{asked.json['organization']}/{asked.json['name']}"
    if repo in asked.hub.repositories:
        return said({"error": "You already created this model repo", "url": f"{asked.hub.url}/{repo}"}, 409)
    asked.hub.repositories[repo] = Repository(private=asked.json.get("visibility") == "private")
    return said({"url": f"{asked.hub.url}/{repo}"})


def validate_yaml(asked: Asked) -> Answer:
    """Whether a card's metadata can be read."""
    parts = asked.json["content"].split("---\n")
    try:
        metadata = yaml.safe_load(parts[1]) if len(parts) > 2 else {}
    except yaml.YAMLError as error:
        return said({"errors": [{"message": str(error)}], "warnings": []}, 400)
    if not isinstance(metadata, dict):
        return said({"errors": [{"message": "metadata is not a mapping"}], "warnings": []}, 400)
    return said({"errors": [], "warnings": []})


def whoami(asked: Asked) -> Answer:
    """Whose token it is."""
    if not asked.authorised:
        raise Refused(401, "Invalid credentials in Authorization header")
    return said({"name": "clapas", "type": "user", "orgs": []})


def preupload(asked: Asked) -> Answer:
    """Which files go as large ones, which are there already, which a `.gitignore` leaves out."""
    commit = commit_of(asked, asked.repository(write=True))
    ignored = [line for line in asked.json.get("gitIgnore", "").splitlines() if line]
    files = []
    for file in asked.json["files"]:
        large = file["path"].endswith((".safetensors", ".gguf")) or b"\0" in base64.b64decode(file["sample"])
        entry = commit.files.get(file["path"])
        oid = {"oid": entry.sha256 or entry.oid} if entry else {}
        mode = "lfs" if large else "regular"
        left_out = any(fnmatch.fnmatch(file["path"], pattern) for pattern in ignored)
        files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": left_out, **oid})
    return said({"files": files})


def commit(asked: Asked) -> Answer:
    """A commit from lines of JSON. 412 where its parent is not the branch's newest commit."""
    repository, branch = asked.repository(write=True), asked.found["revision"]
    lines = [orjson.loads(line) for line in asked.body.splitlines()]
    header = lines[0]["value"]
    with repository.lock:
        if branch not in repository.branches:
            raise Refused(404, f"no branch {branch}", "RevisionNotFound")
        head = repository.commits[repository.branches[branch]]
        if header.get("parentCommit", head.id) != head.id:
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        files = dict(head.files)
        for line in lines[1:]:
            _operation(asked, repository, files, line["key"], line["value"])
        made = repository.commit(head.id, files, header["summary"])
        repository.branches[branch] = made.id
    return said({"commitOid": made.id, "commitUrl": f"{asked.hub.url}/{asked.found['repo']}/commit/{made.id}"})


def _operation(asked: Asked, repository: Repository, files: dict[str, Entry], key: str, value: dict[str, Any]) -> None:
    path = value["path"]
    if key == "file":
        files[path] = repository.blob(base64.b64decode(value["content"]))
    elif key == "lfsFile":
        if value["oid"] not in asked.hub.objects:
            raise Refused(422, f"object of {path} is not there")
        files[path] = repository.large(value["oid"], value["size"])
    elif path not in files:
        raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
    else:
        del files[path]


def branch(asked: Asked) -> Answer:
    """Make a branch at a commit, or remove one."""
    repository, name = asked.repository(write=True), asked.found["name"]
    if asked.method == "DELETE":
        if repository.branches.pop(name, None) is None:
            raise Refused(404, f"no branch {name}", "RevisionNotFound")
        return said({})
    if name in repository.branches:
        raise Refused(409, f"Reference already exists: {name}")
    start = repository.resolve(asked.json.get("startingPoint", "main"))
    if start is None:
        raise Refused(404, "no such starting point", "RevisionNotFound")
    repository.branches[name] = start.id
    return said({})


def tag(asked: Asked) -> Answer:
    """Name a commit for good."""
    repository, name = asked.repository(write=True), asked.json["tag"]
    if name in repository.tags:
        raise Refused(409, f"Tag reference exists already: {name}")
    repository.tags[name] = commit_of(asked, repository).id
    return said({})


def refs(asked: Asked) -> Answer:
    """All branches and tags; stale: main as it was a commit ago."""
    repository = asked.repository()
    branches = dict(repository.branches)
    if asked.fault and asked.fault.kind == "stale":
        branches["main"] = repository.commits[branches["main"]].parent or branches["main"]
    told = {"branches": _refs(branches, "heads"), "tags": _refs(repository.tags, "tags"), "converts": []}
    return said(told)


def _refs(names: dict[str, str], kind: str) -> list[dict[str, str]]:
    return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": commit} for name, commit in names.items()]


def tree(asked: Asked) -> Answer:
    """The files and folders of a revision, page by page."""
    commit = commit_of(asked, asked.repository())
    folders = {name.rsplit("/", depth)[0] for name in commit.files for depth in range(1, name.count("/") + 1)}
    listed: list[dict[str, Any]] = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": name} for name in folders]
    listed = sorted(listed + [described(name, entry) for name, entry in commit.files.items()], key=lambda e: e["path"])
    begin = int(asked.query.get("cursor", 0))
    status, headers, content = said(listed[begin : begin + PAGE])
    if begin + PAGE < len(listed):
        place = f"/api/models/{asked.found['repo']}/tree/{asked.found['revision']}"
        following = f"{asked.hub.url}{place}?recursive=true&cursor={begin + PAGE}"
        headers["Link"] = f'<{following}>; rel="next"'
    return status, headers, content


def described(name: str, entry: Entry) -> dict[str, Any]:
    """A file as the Hub lists it."""
    large = {} if entry.sha256 is None else {"lfs": {"oid": entry.sha256, "size": entry.size, "pointerSize": 134}}
    return {"type": "file", "oid": entry.oid, "size": entry.size, "path": name, **large}


def paths_info(asked: Asked) -> Answer:
    """Some files of a revision."""
    commit = commit_of(asked, asked.repository())
    names = parse_qs(asked.body.decode()).get("paths", [])
    return said([described(name, commit.files[name]) for name in names if name in commit.files])


def information(asked: Asked) -> Answer:
    """A repository at a revision."""
    asked.found.setdefault("revision", "main")
    commit = commit_of(asked, asked.repository())
    files = [{"rfilename": name} for name in commit.files]
    return said({"id": asked.found["repo"], "modelId": asked.found["repo"], "sha": commit.id, "siblings": files})


def commits(asked: Asked) -> Answer:
    """The history of a revision."""
    history = asked.repository().history(asked.found["revision"])
    return said([{"id": c.id, "authors": [], "date": c.date, "title": c.title, "message": ""} for c in history])


def resolve(asked: Asked) -> Answer:
    """A file's bytes, or the range asked for."""
    repository, name = asked.repository(), asked.found["path"]
    content = asked.hub.content(repository, name, asked.found["revision"])
    commit = commit_of(asked, repository)
    entry = commit.files[name]
    headers = {"X-Repo-Commit": commit.id, "ETag": f'"{entry.sha256 or entry.oid}"', "Accept-Ranges": "bytes"}
    if entry.sha256 is not None:
        headers |= {"X-Linked-Size": str(entry.size), "X-Linked-ETag": f'"{entry.sha256}"'}
    if asked.method == "GET" and (wanted := asked.headers.get("Range")):
        begin = int(wanted.removeprefix("bytes=").split("-")[0])
        headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        return 206, headers, content[begin:]
    return 200, headers, content


def commit_of(asked: Asked, repository: Repository) -> Commit:
    """The commit that the path's revision names."""
    found = repository.resolve(asked.found["revision"])
    if found is None:
        raise Refused(404, f"no revision {asked.found['revision']}", "RevisionNotFound")
    return found


REPO = r"(?P<repo>[^/]+/[^/]+)"
API = rf"/api/models/{REPO}"
REVISION = r"(?P<revision>[^/]+)"
ROUTES: tuple[tuple[str, str, Route], ...] = (
    ("POST", "/api/repos/create", create),
    ("POST", "/api/validate-yaml", validate_yaml),
    ("GET", "/api/whoami-v2", whoami),
    ("POST", rf"{API}/preupload/{REVISION}", preupload),
    ("POST", rf"/{REPO}\.git/info/lfs/objects/batch", loopback_lfs.batch),
    ("POST", "/lfs/verify", loopback_lfs.verify),
    ("POST", "/lfs/(?P<oid>[0-9a-f]{64})/complete", loopback_lfs.complete),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})(?:/(?P<part>\d+))?", loopback_lfs.put),
    ("POST", rf"{API}/commit/{REVISION}", commit),
    ("POST", rf"{API}/branch/(?P<name>[^/]+)", branch),
    ("DELETE", rf"{API}/branch/(?P<name>[^/]+)", branch),
    ("POST", rf"{API}/tag/{REVISION}", tag),
    ("GET", rf"{API}/refs", refs),
    ("GET", rf"{API}/tree/{REVISION}", tree),
    ("POST", rf"{API}/paths-info/{REVISION}", paths_info),
    ("GET", rf"{API}/commits/{REVISION}", commits),
    ("GET", rf"{API}/revision/{REVISION}", information),
    ("GET", API, information),
    ("HEAD", rf"/{REPO}/resolve/{REVISION}/(?P<path>.+)", resolve),
    ("GET", rf"/{REPO}/resolve/{REVISION}/(?P<path>.+)", resolve),
)
