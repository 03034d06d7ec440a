"""A release in a mirror: files first, read back, the index last; in a folder and in an S3 store over real HTTP."""

from __future__ import annotations

import functools
import itertools
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import orjson
import pytest
from moto.server import ThreadedMotoServer
from tests.release.small_release import REVISIONS, write_release

from clapas.recipe.errors import UserError
from clapas.release.publish import s3_store
from clapas.release.publish.contents import Contents, File
from clapas.release.publish.mirror import Store, files_of, mirror, open_store
from clapas.release.publish.record import UploadError

BELOW = "clapas-demo/1.0.0"


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """A release of version 1.0.0. Read it, do not change it."""
    return write_release(tmp_path_factory.mktemp("release") / "demo")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 store of moto's, with credentials in the environment."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing-testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, contents: Contents, tmp_path: Path) -> tuple[Store, Callable[[str], Any]]:
    """An empty mirror, and how to read a file of it by other means than ours."""
    if request.param == "folder":
        root = tmp_path / "served"
        return open_store(str(root), None, contents.folder), lambda name: (root / name).read_bytes()
    endpoint = request.getfixturevalue("s3")
    client = boto3.client("s3", endpoint_url=endpoint)
    bucket = f"mirror-{abs(hash(tmp_path))}"
    client.create_bucket(Bucket=bucket)
    store = open_store(f"s3://{bucket}/models", endpoint, contents.folder)
    return store, lambda name: client.get_object(Bucket=bucket, Key=f"models/{name}")["Body"].read()


def test_all_files_then_the_index(place: tuple[Store, Callable[[str], Any]], contents: Contents) -> None:
    """Byte for byte below NAME/VERSION, revisions too; index.json has size and SHA-256 of each."""
    store, content = place
    mirror(contents, store)
    files = files_of(contents)
    assert {f"{BELOW}/model.safetensors", f"{BELOW}/revisions/{REVISIONS[0]}/model.safetensors"} <= files.keys()
    assert set(store.names("")) == {*files, "index.json", "index.html"}
    assert all(content(name) == file.path.read_bytes() for name, file in files.items())
    version = orjson.loads(content("index.json"))["models"]["clapas-demo"]["1.0.0"]
    listed = {f"{BELOW}/{name}": (file["size"], file["sha256"]) for name, file in version["files"].items()}
    assert listed == {name: (file.size, file.sha256) for name, file in files.items()}
    assert version["licence"] == "Apache-2.0"


def test_doing_it_again_changes_nothing(place: tuple[Store, Callable[[str], Any]], contents: Contents) -> None:
    """Nothing is sent, not even the index."""
    store, _ = place
    mirror(contents, store)
    sent: list[str] = []
    again = mirror(contents, Watched(store, sent))
    assert sent == []
    assert again.already


class Watched:
    """A store that notes what is sent to it, and can break off."""

    def __init__(self, store: Store, sent: list[str], breaks_at: int | None = None) -> None:
        self._store, self._sent, self._breaks_at = store, sent, breaks_at
        self.url, self.names, self.has = store.url, store.names, store.has
        self.sha256, self.remove, self.read = store.sha256, store.remove, store.read

    def put(self, name: str, file: File) -> None:
        """Send a file, unless the power fails."""
        if len(self._sent) == self._breaks_at:
            raise KeyboardInterrupt
        self._sent.append(name)
        self._store.put(name, file)

    def write(self, name: str, content: bytes, kind: str) -> None:
        """Write an index."""
        self._sent.append(name)
        self._store.write(name, content, kind)


def test_an_interruption_shows_nothing_and_is_gone_on_with(
    place: tuple[Store, Callable[[str], Any]], contents: Contents
) -> None:
    """No index before all is there; what had arrived is not sent again; what an older try left is gone."""
    store, _ = place
    sent: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        mirror(contents, Watched(store, sent, breaks_at=7))
    assert store.read("index.json") is None
    store.write(f"{BELOW}/of-an-older-try.bin", b"x", "text/plain")
    arrived, again = set(store.names(f"{BELOW}/")), []
    mirror(contents, Watched(store, again))
    assert not arrived & set(again)
    assert {*sent, *again} >= {*files_of(contents), "index.json", "index.html"}
    assert f"{BELOW}/of-an-older-try.bin" not in store.names("")


def test_what_is_read_back_wrong_is_not_named(place: tuple[Store, Callable[[str], Any]], contents: Contents) -> None:
    """A byte that changed in the store: the file is named, the index is not written."""
    store, _ = place
    victim = f"{BELOW}/config.json"

    class Spoiling(Watched):
        def put(self, name: str, file: File) -> None:
            super().put(name, file)
            if name == victim:
                store.write(name, file.path.read_bytes().replace(b"2", b"3", 1), "application/json")

    with pytest.raises(UploadError, match=rf"the index was not changed[\s\S]*{victim} is SHA-256"):
        mirror(contents, Spoiling(store, []))
    assert store.read("index.json") is None
    mirror(contents, store)
    assert store.read("index.json") is not None


def test_versions_stand_beside_each_other_and_are_never_replaced(
    place: tuple[Store, Callable[[str], Any]], contents: Contents, tmp_path: Path
) -> None:
    """The newer first on the page; the same version with other weights is refused."""
    store, content = place
    mirror(contents, store)
    mirror(write_release(tmp_path / "new", "1.1.0", seed=2, revisions=False), store)
    page = content("index.html").decode()
    assert page.index("version 1.1.0") < page.index("version 1.0.0")
    assert set(orjson.loads(content("index.json"))["models"]["clapas-demo"]) == {"1.0.0", "1.1.0"}
    other = write_release(tmp_path / "other", "1.0.0", seed=3)
    before = content(f"{BELOW}/model.safetensors")
    with pytest.raises(UserError, match=r"published already[\s\S]*model\.safetensors"):
        mirror(other, store)
    assert content(f"{BELOW}/model.safetensors") == before


def test_an_index_of_another_hand_is_not_replaced(
    place: tuple[Store, Callable[[str], Any]], contents: Contents
) -> None:
    """A folder that is something else."""
    store, content = place
    store.write("index.json", b'{"site": 1}', "application/json")
    with pytest.raises(UserError, match="not a mirror's index"):
        mirror(contents, store)
    assert content("index.json") == b'{"site": 1}'


def test_large_files_go_in_parts(s3: str, contents: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a checksum of each; parts that a killed publication left are dropped."""
    monkeypatch.setattr(s3_store, "PART", 5 << 20)
    client = boto3.client("s3", endpoint_url=s3)
    client.create_bucket(Bucket="large")
    client.create_multipart_upload(Bucket="large", Key="m/big.bin")
    store = open_store("s3://large/m", s3, contents.folder)
    (tmp_path / "big.bin").write_bytes(os.urandom(6 << 20))
    from clapas.recipe.hashes import file_hash

    file = File(tmp_path / "big.bin", 6 << 20, file_hash(tmp_path / "big.bin"))
    store.put("big.bin", file)
    assert store.has("big.bin", file)
    assert store.sha256("big.bin") == file.sha256
    assert client.head_object(Bucket="large", Key="m/big.bin")["ETag"].endswith('-2"')
    assert "Uploads" not in client.list_multipart_uploads(Bucket="large")


def test_a_store_that_is_not_there_or_not_ours(s3: str, contents: Contents, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message each, of the user's own mistake."""
    with pytest.raises(UserError, match="does not let us in"):
        mirror(contents, open_store("s3://no-such-bucket/x", s3, contents.folder))
    for wrong, word in (("s3://", "not an S3 address"), ("ftp://host/x", "not a mirror")):
        with pytest.raises(UserError, match=word):
            open_store(wrong, None, contents.folder)
    file = contents.folder.parent / "file"
    file.touch()
    with pytest.raises(UserError, match="the mirror's folder cannot be made"):
        mirror(contents, open_store(str(file), None, contents.folder))
    with pytest.raises(UserError, match="in the release itself"):
        open_store(str(contents.folder / "served"), None, contents.folder)


class Outline(HTMLParser):
    """What a screen reader goes by."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.append((tag, dict(attrs)))


def test_the_page_can_be_read_by_anybody(contents: Contents, tmp_path: Path) -> None:
    """French before English, headings in order, headers on tables; no script and nothing from elsewhere; contacts."""
    store = open_store(str(tmp_path / "served"), None, contents.folder)
    mirror(contents, store)
    text = (store.read("index.html") or b"").decode()
    outline = Outline()
    outline.feed(text)
    sections = [attributes["lang"] for tag, attributes in outline.tags if tag == "section"]
    assert sections == ["fr", "en"]
    headings = [int(tag[1]) for tag, _ in outline.tags if tag in ("h1", "h2", "h3", "h4")]
    assert all(after <= before + 1 for before, after in itertools.pairwise(headings))
    assert all(attributes.get("scope") == "col" for tag, attributes in outline.tags if tag == "th")
    assert sum(tag == "caption" for tag, _ in outline.tags) == sum(tag == "table" for tag, _ in outline.tags) == 2
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in outline.tags}
    links = [attributes["href"] or "" for tag, attributes in outline.tags if tag == "a"]
    assert "mailto:retrait@clapas.example" in links
    assert not [link for link in links if link.startswith(("http:", "https:"))]
    relative = [link for link in links if not link.startswith(("mailto:", "#"))]
    assert all((tmp_path / "served" / link).is_file() for link in relative)
    assert contents.main.files["model.safetensors"].sha256 in text
    assert "table { border-collapse" in text


def test_the_commands_of_the_page_download_and_check(contents: Contents, tmp_path: Path) -> None:
    """As pasted into a shell, against a real web server."""
    store = open_store(str(tmp_path / "served"), None, contents.folder)
    mirror(contents, store)
    text = (store.read("index.html") or b"").decode()
    commands = text[text.index("<code>") + 6 : text.index("</code>")].replace("&amp;", "&")
    handler = functools.partial(Silent, directory=str(tmp_path / "served"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    commands = commands.replace("https://…", f"http://127.0.0.1:{server.server_address[1]}")
    result = subprocess.run(["sh", "-ec", commands], cwd=tmp_path, capture_output=True, text=True, check=False)
    server.shutdown()
    server.server_close()
    assert result.returncode == 0, result.stderr
    assert "model.safetensors: OK" in result.stdout
    got = (tmp_path / "clapas-demo-1.0.0/images/loss.png").read_bytes()
    assert got == (contents.folder / "images/loss.png").read_bytes()


class Silent(SimpleHTTPRequestHandler):
    """A web server that prints nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def test_a_cut_download_goes_on(s3: str, contents: Contents, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes that had come are not asked for again."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(s3_store, "CHUNK", 1000)
    client = boto3.client("s3", endpoint_url=s3)
    client.create_bucket(Bucket="cut")
    store = open_store("s3://cut", s3, contents.folder)
    weights = contents.main.files["model.safetensors"]
    store.put("w", weights)
    ranges: list[str | None] = []

    def note(params: dict[str, Any], **_: object) -> None:
        ranges.append(params["headers"].get("Range"))

    def cut(parsed: dict[str, Any], **_: object) -> None:
        if len(ranges) == 1:
            body = parsed["Body"]
            body._raw_stream.read = functools.partial(short, body._raw_stream, body._raw_stream.read)

    store._client.meta.events.register("before-call.s3.GetObject", note)  # pyright: ignore[reportAttributeAccessIssue]
    store._client.meta.events.register("after-call.s3.GetObject", cut)  # pyright: ignore[reportAttributeAccessIssue]
    assert store.sha256("w") == weights.sha256
    assert ranges == [None, "bytes=5000-"]


def short(stream: Any, read: Callable[..., bytes], amount: int | None = None, **more: object) -> bytes:
    """Five reads, then a dead connection."""
    from urllib3.exceptions import ProtocolError

    stream.reads = getattr(stream, "reads", 0) + 1
    if stream.reads > 5:
        raise ProtocolError("connection reset by peer")
    return read(amount, **more)
