"""A Hub of our own on the loopback: the calls that `huggingface_hub` makes to publish a model and to download it.

It keeps real commits, branches, tags and objects (`loopback_store`), answers as the public Hub was seen to, and can be
told to fail (`loopback_faults`). Use as a context manager; `hub.url` is what HF_ENDPOINT takes.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson
from tests.release import loopback_calls
from tests.release.loopback_faults import Fault, Faults
from tests.release.loopback_store import Refused, Repository

TOKEN = "hf_" + "loopback" * 4
"""The one token that may write, and read what is private."""


class LoopbackHub:
    """The server. calls: how often each `METHOD /path` was asked. objects: large files by SHA-256; parts: of those that
    are not whole yet. part_size: bytes above which an object is asked for in parts."""

    def __init__(self, part_size: int = 1 << 18) -> None:
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.parts: dict[tuple[str, int], bytes] = {}
        self.part_size = part_size
        self.faults = Faults()
        self.calls: Counter[str] = Counter()
        self.sent = 0
        """Bytes of large files that arrived."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> LoopbackHub:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def content(self, repository: Repository, name: str, revision: str) -> bytes:
        """The bytes of a file."""
        commit = repository.resolve(revision)
        if commit is None:
            raise Refused(404, f"no revision {revision}", "RevisionNotFound")
        if name not in commit.files:
            raise Refused(404, f"no entry {name}", "EntryNotFound")
        entry = commit.files[name]
        return repository.blobs[entry.oid] if entry.sha256 is None else self.objects[entry.sha256]


class Asked:
    """A request, as a route sees it."""

    def __init__(self, hub: LoopbackHub, handler: BaseHTTPRequestHandler, found: dict[str, str], body: bytes) -> None:
        self.hub, self.headers, self.body = hub, handler.headers, body
        self.method = handler.command
        self.query = {name: values[-1] for name, values in parse_qs(urlsplit(handler.path).query).items()}
        self.found = {name: unquote(value) for name, value in found.items() if value is not None}
        self.fault: Fault | None = None

    @property
    def json(self) -> Any:
        """The body, which is JSON."""
        return orjson.loads(self.body or b"{}")

    @property
    def authorised(self) -> bool:
        """Whether the request bears the token."""
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def repository(self, *, write: bool = False) -> Repository:
        """The repository that the path names. Raises Refused where it is unknown, or may not be read or written."""
        repository = self.hub.repositories.get(self.found["repo"])
        if repository is None or (repository.private and not self.authorised):
            raise Refused(404 if self.authorised else 401, "Repository not found", "RepoNotFound")
        if write and not self.authorised:
            raise Refused(401, "Invalid credentials in Authorization header")
        return repository


def _handler(hub: LoopbackHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle(self) -> None:
            """A client that is killed is no defect of the server."""
            with contextlib.suppress(ConnectionError):
                super().handle()

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

        def answer(self) -> None:
            path = urlsplit(self.path).path
            call = f"{self.command} {unquote(path)}"
            hub.calls[call] += 1
            fault = hub.faults.of(call)
            length = int(self.headers.get("Content-Length") or 0)
            if fault and fault.kind == "cut request":
                self.rfile.read(length // 2)
                fault.then()
                self.close_connection = True
                return
            body = self._chunked() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(length)
            if fault and fault.kind == "status":
                self.send(fault.status, {"X-Error-Message": "fault", **fault.headers}, b"")
                return
            if fault and fault.kind == "call":
                fault.then()
            for method, form, route in loopback_calls.ROUTES:
                if method == self.command and (match := re.fullmatch(form, path)):
                    self.run(route, Asked(hub, self, match.groupdict(), body), fault)
                    return
            self.send(501, {}, f"the loopback Hub does not know {call}".encode())

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

        def run(self, route: loopback_calls.Route, asked: Asked, fault: Fault | None) -> None:
            asked.fault = fault
            try:
                status, headers, content = route(asked)
            except Refused as refused:
                status, headers, content = refused.status, refused.headers, str(refused).encode()
            if fault and fault.kind == "lose answer":
                fault.then()
                self.close_connection = True
                return
            self.send(status, headers, content, cut=fault is not None and fault.kind == "cut answer")

        def send(self, status: int, headers: dict[str, str], content: bytes, *, cut: bool = False) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if cut else content)
            self.close_connection = self.close_connection or cut

        def _chunked(self) -> bytes:
            chunks: list[bytes] = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

    return Handler
