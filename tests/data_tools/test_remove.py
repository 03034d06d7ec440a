"""Documents leave a built corpus by name: checked before anything is written, once, with the old manifest kept."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source
from clapas_data.documents import DOCUMENTS
from clapas_data.inspect import inspect, inspect_table
from clapas_data.lookup import find
from clapas_data.manifest import open_manifest, read_manifest, read_revisions
from clapas_data.remove import Outcome, read_names, remove
from clapas_data.sources import source_identity
from clapas_data.verify import verify
from corpora import write_corpus
from reading import documents


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two sources with an id in common, a URL of two copies, and hashes as bytes."""
    folder = tmp_path / "data"
    folder.mkdir()
    manifest = write_corpus(folder, {"law": [[3] * 50, [2] * 40], "web": [[7] * 30]})
    table = pq.read_table(folder / DOCUMENTS)
    ids = [f"d{place}" for place in range(90)] + [f"d{place}" for place in range(30)]
    urls = [None] * 90 + [f"https://a.fr/{place // 2}" for place in range(30)]
    hashes = pa.array([place.to_bytes(8, "big") for place in range(120)], pa.binary(8))
    table = table.set_column(table.schema.get_field_index("id"), "id", pa.array(ids))
    table = table.append_column("url", pa.array(urls)).append_column("hash", hashes)
    pq.write_table(table, folder / DOCUMENTS, row_group_size=16)
    manifest.write(folder)
    return folder


def take(corpus: Path, text: str, *, name: str = "names.txt", ignore_missing: bool = False) -> Outcome:
    """Remove what a file of names says."""
    path = corpus.parent / name
    path.write_text(text, encoding="utf-8")
    return remove(corpus, read_names(path), where=path, reason="asked for", ignore_missing=ignore_missing)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.txt", "# asked for in May\nd40\n\nlaw:d3\nhttps://a.fr/2\ntrain/law-00001#7\n0000000000000050\n"),
        ("names.jsonl", '"d40"\n{"source": "law", "id": "d3"}\n{"url": "https://a.fr/2"}\n'
         '{"document": "train/law-00001#7", "note": 1}\n{"hash": "0000000000000050"}\n'),
        ("names.csv", "id,source,hash,url\nd40,,,\nd3,law,,\n,,,https://a.fr/2\nd57,law,,\n,,0000000000000050,\n"),
    ],
)  # fmt: skip
def test_every_kind_of_name_in_every_kind_of_file(corpus: Path, name: str, text: str) -> None:
    """Ids, source:id, URLs (all copies), shard#document and hashes; counts, mask and manifest agree."""
    before = open_manifest(corpus)
    outcome = take(corpus, text, name=name)
    told = {(row["source"], row["id"]) for row in outcome.removed}
    assert told == {("law", "d40"), ("law", "d3"), ("web", "d4"), ("web", "d5"), ("law", "d57"), ("law", "d80")}
    after = open_manifest(corpus)
    assert after.hash == outcome.manifest.hash != before.hash == outcome.was
    assert before.tokens("train") - after.tokens("train") == 3 + 3 + 7 + 7 + 2 + 2
    assert [revision.hash for revision in read_revisions(after)] == [after.hash, before.hash]
    assert after.shards == before.shards
    assert verify(corpus).damage == ()
    rows = inspect(corpus)["sources"]
    assert {row["source"]: row["documents"] for row in rows} == {"law": 86, "web": 28}
    assert "asked for" in inspect_table(inspect(corpus))


def test_what_left_before_is_not_removed_again(corpus: Path) -> None:
    """The same names change nothing; more names make the next revision, which leaves out both."""
    first = take(corpus, "law:d1\n")
    again = take(corpus, "law:d1\n")
    assert (again.removed, len(again.before), again.manifest.hash) == ([], 1, first.manifest.hash)
    more = take(corpus, "law:d1\nlaw:d2\n")
    assert [row["id"] for row in more.removed] == ["d2"]
    assert more.manifest.removed is not None
    assert [removal.documents for removal in more.manifest.removed.removals] == [1, 1]
    assert more.manifest.holes["train/law-00000"].starts.tolist() == [3]
    assert more.manifest.holes["train/law-00000"].stops.tolist() == [9]
    assert sorted(path.name for path in corpus.glob("*-000*")) == [
        "manifest-0001.json",
        "manifest-0002.json",
        "removed-0002.parquet",
        "removed-0003.parquet",
    ]
    assert [revision.revision for revision in read_revisions(more.manifest)] == [3, 2, 1]
    assert verify(corpus).damage == ()
    other = write_corpus(corpus.parent / "other", {"law": [[3] * 50, [2] * 40], "web": [[7] * 30]})
    rows = [row["id"] for row in find(other, ["train/law-00000#1", "train/law-00000#2"]).values() for row in row]
    at_once = remove(corpus.parent / "other", list(enumerate(rows)), where=Path("names"))
    assert at_once.manifest.hash == more.manifest.hash  # what is left decides, not in how many turns it came to be


def test_what_is_no_document_is_refused_before_anything_is_written(corpus: Path) -> None:
    """By line, all of them; --ignore-missing passes over them."""
    before = sorted(path.name for path in corpus.iterdir())
    with pytest.raises(UserError, match=r"2 of the names[\s\S]*line 2: nobody\n *line 4: law:nothing"):
        take(corpus, "law:d1\nnobody\nlaw:d2\nlaw:nothing\n")
    with pytest.raises(UserError, match=r"names.txt:2: an id that several sources have[\s\S]*law:d5 or web:d5"):
        take(corpus, "law:d1\nd5\n")
    assert {path.name for path in corpus.iterdir()} - {".lock"} == set(before) - {".lock"}
    outcome = take(corpus, "law:d1\nnobody\n", ignore_missing=True)
    assert (len(outcome.removed), outcome.unknown) == (1, ["nobody"])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "\n# nothing\n", "names no document"),
        ("a.jsonl", '{"id": "d1"}\n{"name": "d2"}\n', r"a.jsonl:2: names no document"),
        ("a.jsonl", '{"id": "d1"\n', r"a.jsonl:1: not JSON"),
        ("a.csv", "name\nd1\n", "no column names a document"),
        ("a.csv", "id,source\nd1,law\n,\n,law\n", r"a.csv:4: names no document\n  found:   law"),
    ],
)
def test_a_file_that_names_nothing_is_refused(corpus: Path, name: str, text: str, message: str) -> None:
    """With its line."""
    with pytest.raises(UserError, match=message):
        take(corpus, text, name=name)


def test_bare_shards_cannot_leave_anything_out(corpus: Path) -> None:
    """They have nowhere to say so."""
    (corpus / "manifest.json").unlink()
    with pytest.raises(UserError, match="only a corpus with a manifest"):
        take(corpus, "law:d1\n")
    with pytest.raises(UserError, match="no such corpus folder"):
        take(corpus.with_name("nowhere"), "law:d1\n")


def test_damage_to_masks_and_old_manifests_is_found(corpus: Path) -> None:
    """An old manifest that is gone or changed; a manifest that lists fewer documents than its mask."""
    take(corpus, "law:d1\nlaw:d7\n")
    values = json.loads((corpus / "manifest.json").read_text())
    values["removed"]["shards"]["train/law-00000"]["documents"] = 1
    (corpus / "manifest.json").write_text(json.dumps(values))
    (damage,) = verify(corpus).damage
    assert damage.path.name == "removed-0002.parquet"
    (corpus / "manifest-0001.json").unlink()
    assert "manifest-0001.json" in str(verify(corpus).damage)
    with pytest.raises(UserError, match="no such manifest"):
        list(read_revisions(read_manifest(corpus)))


def test_a_manifest_from_before_there_were_removals_opens_as_it_was(corpus: Path) -> None:
    """Without the new keys: the same hash."""
    path = corpus / "manifest.json"
    values = json.loads(path.read_text())
    del values["removed"]
    for source in values["sources"].values():
        del source["domain"], source["language"]
    path.write_text(json.dumps(values))
    assert open_manifest(corpus).hash == values["hash"]


def test_shards_are_not_bare_where_their_corpus_leaves_documents_out(corpus: Path) -> None:
    """A folder within is refused; decoded as a source, they lack what was removed, under another identity."""
    tokenizer = Tokenizer(models.WordLevel({f"t{number}": number for number in range(600)}, unk_token="t0"))
    (corpus.parent / "tokenizer").mkdir()
    tokenizer.save(str(corpus.parent / "tokenizer/tokenizer.json"))
    source = Source(megatron=str(corpus / "train/law-*"), tokenizer=corpus.parent / "tokenizer")
    before, identity = documents(source), source_identity("law", source)
    assert open_manifest(corpus / "train").tokens("train") == 50 * 3 + 40 * 2 + 30 * 7
    take(corpus, "law:d1\nlaw:d57\n")
    with pytest.raises(UserError, match=r"a part of a corpus from which documents were removed[\s\S]*revision 2"):
        open_manifest(corpus / "train")
    left = documents(source)
    assert [document.id for document in before if document not in left] == ["law-00000#1", "law-00001#7"]
    assert len(left) == 88
    assert source_identity("law", source) != identity
    (corpus.parent / "manifest.json").write_text("[1]")  # somebody else's
    assert len(documents(source)) == 88
