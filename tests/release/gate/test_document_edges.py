"""Where documents end is read out of the shards themselves."""

from __future__ import annotations

from pathlib import Path

from clapas.release.gate.document_edges import DOCUMENTS, document_edges
from corpora import write_corpus


def test_documents_are_spread_over_shards(tmp_path: Path) -> None:
    """Each with its first and last token, the first and the last document of a shard among them; not held-out ones."""
    manifest = write_corpus(tmp_path, {"law": [[3, 4], [2] * 100]}, {"law": [[5]]})
    edges = list(document_edges(manifest))
    assert [(one.first, one.last) for one in edges[:2]] == [(0, 2), (3, 6)]
    second = [one for one in edges if one.shard.endswith("law-00001")]
    assert len(second) == DOCUMENTS
    assert [(one.first, one.last) for one in (second[0], second[-1])] == [(7, 8), (205, 206)]
    assert len(edges) == 2 + DOCUMENTS
