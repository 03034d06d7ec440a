"""The domains of crawled sources, from the table of documents."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clapas.release.evidence.domains import domains_of


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A table of 21 domains in two row groups, held-out documents and another source among them."""
    rows = [("train", "web", f"https://www.site{place}.example/page", 100 + place) for place in range(20)]
    rows += [
        ("train", "web", "http://site3.example:80/autre", 1000),
        ("heldout", "web", "https://secret.example/", 9999),
    ]
    rows += [
        ("train", "livres", "https://livres.example/", 5000),
        ("train", "web", "", 7),
        ("train", "web", "café.fr", 1),
    ]
    columns = {name: [row[place] for row in rows] for place, name in enumerate(("split", "source", "url", "bytes"))}
    pq.write_table(pa.table(columns), tmp_path / "documents.parquet", row_group_size=10)
    return tmp_path


def test_the_largest_tenth_of_the_domains_is_kept(data: Path) -> None:
    """21 domains: three, by the bytes of their training documents, `www.` and ports apart."""
    found = domains_of(data, ["web"])
    assert found["web"].hosts == 21
    assert [name for name, _ in found["web"].top] == ["site3.example", "site19.example", "site18.example"]
    assert found["web"].top[0] == ("site3.example", 1103)
    assert found["web"].text_bytes == sum(range(100, 120)) + 1000 + 1


def test_sources_that_were_not_crawled_are_left_out(data: Path) -> None:
    """Only those asked for; and none where the documents have no address."""
    assert set(domains_of(data, ["livres"])) == {"livres"}
    assert domains_of(data, []) == {}
    assert domains_of(data / "nowhere", ["web"]) == {}
