"""Hosts and paths of URLs in one form, so that a list and a crawl that write them differently still agree.

Of a host: lower case, international names as Punycode, no `www.`, no port, no user, no final dot. Of a path: percent
signs decoded and encoded anew, no fragment; an empty one is `/`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import quote, unquote

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:)?//")
_DOTS = re.compile("[\u3002\uff0e\uff61]")  # what IDNA (RFC 3490, 3.1) takes for a dot
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.(?!-)[a-z0-9_-]{1,63})*")
_PORT = re.compile(r":\d*$")
_SAFE = "/?&=:@!$'()*+,;~-._[]"


def split_url(url: str) -> tuple[str, str]:
    """The host and the path, with its query, of a URL; its scheme may be missing. Both empty where it has no host."""
    rest = url[scheme.end() :] if (scheme := _SCHEME.match(url)) else url
    end = next((place for place, sign in enumerate(rest) if sign in "/?#"), len(rest))
    host = host_of(rest[:end].rpartition("@")[2])
    return (host, path_of(rest[end:])) if host else ("", "")


@lru_cache(maxsize=2**16)
def host_of(name: str) -> str:
    """A host in its one form, empty where the name cannot be one. An IPv6 address keeps its brackets."""
    name = name.strip().lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    if not name.isascii():
        name = _DOTS.sub(".", unicodedata.normalize("NFKC", name)).lower()
    name = _PORT.sub("", name).removesuffix(".")
    if not name.isascii():
        name = ".".join(map(_punycode, name.split(".")))
    name = name.removeprefix("www.") if name.count(".") > 1 else name
    return name if _HOST.fullmatch(name) and len(name) <= 253 else ""


def path_of(path: str) -> str:
    """A path, with its query, in its one form: it begins with `/`."""
    path = path.partition("#")[0]
    if "%" in path or not path.isascii():
        path = quote(unquote(path, errors="surrogateescape"), safe=_SAFE, errors="surrogateescape")
    return path if path.startswith("/") else f"/{path}"


def domains_of(host: str) -> Iterator[str]:
    """A host and the domains that it lies in, the longest first: `a.b.fr`, `b.fr`, `fr`."""
    while host:
        yield host
        host = host.partition(".")[2]


def _punycode(label: str) -> str:
    return label if label.isascii() else f"xn--{label.encode('punycode').decode()}"
