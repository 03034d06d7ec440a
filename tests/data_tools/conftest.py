"""Small real corpora, in caches of their own, around packages that are fetched once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from clapas_data.cache import cache_folder
from clapas_data.clean import clean
from clapas_data.corpus import read_corpus
from clapas_data.sources import read_part, source_parts
from clapas_data.sources.npm import fetch_npm

Corpus = Callable[..., Path]


@pytest.fixture(scope="session")
def guides_package() -> Path:
    """The real npm package of the labour ministry's guides, from the cache or the registry."""
    source = read_corpus("test").sources["fiches-travail"]
    assert source.npm is not None
    assert source.sha256 is not None
    return fetch_npm(source.npm, source.sha256)


@pytest.fixture(scope="session")
def guides(guides_package: Path) -> list[str]:
    """The guides' texts, clean: 269 documents of real French, 4.6 MB."""
    (part,) = source_parts("fiches-travail", read_corpus("test").sources["fiches-travail"])
    assert part.paths == (str(guides_package),)
    return [clean(document.text) for document in read_part(part)]


@pytest.fixture
def fresh_cache(guides_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with nothing prepared in it; what was fetched is shared."""
    packages = cache_folder("npm")
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "npm").symlink_to(packages)
    monkeypatch.setenv("CLAPAS_CACHE", str(cache))
    return cache


@pytest.fixture
def jsonl_corpus(tmp_path: Path, fresh_cache: Path) -> Corpus:
    """Make a corpus file whose sources are JSONL files of given texts, as in `jsonl_corpus(a=[...])`."""

    def make(held_out: list[dict[str, object]] | None = None, **sources: list[str]) -> Path:
        facts: dict[str, object] = {"name": "made", "sources": {}, "held_out": held_out or []}
        for name, texts in sources.items():
            lines = [json.dumps({"id": f"{name}/{place}", "text": text}) for place, text in enumerate(texts)]
            (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
            facts["sources"][name] = {"files": f"{name}.jsonl", "licence": "test"}  # pyright: ignore[reportIndexIssue]
        path = tmp_path / "made.yaml"
        path.write_text(json.dumps(facts))
        return path

    return make
