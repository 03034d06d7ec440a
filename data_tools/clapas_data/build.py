"""From a corpus file to token shards: prepared text, encoded, written shard by shard, sealed by the manifest.

A build that was stopped goes on where it was: finished shards are kept, `manifest.json` comes last and means that all
is there. What comes out depends on the corpus and the tokenizer alone, not on the workers or on interruptions.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from clapas.recipe.errors import UserError
from clapas.recipe.files import atomic_write, new_folder
from clapas.recipe.hashes import content_hash
from clapas_data.corpus import Corpus, read_corpus, warn_of_licences
from clapas_data.documents import DOCUMENTS
from clapas_data.encode import TokenizerFolder, open_tokenizer
from clapas_data.files import locked, make_folder, remove_partials
from clapas_data.local import run_stages
from clapas_data.manifest import MANIFEST, Manifest, open_manifest
from clapas_data.prepare import corpus_key, plan_work, prepare, preparing_stages
from clapas_data.rejected import REJECTED
from clapas_data.seal import Seal, source_record
from clapas_data.sources import source_facts
from clapas_data.stages import Stage
from clapas_data.work import Work
from clapas_data.workers import Workers
from clapas_data.write import SPLITS, TOKENIZER, WORK, BuildFolder, Encode, PlanShards

BUILDER = 2
"""Version of what encoding and writing do: raised when they change."""
STATE = "build.json"
PLAN = "plan.json"
_NOT_BEGUN = "clapas data build CORPUS --out …; one without --slurm is seen here once its documents are chosen"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be built where. key: hash of all that decides it."""

    corpus: Corpus
    out: Path
    tokenizer: TokenizerFolder
    key: str


def build(
    corpus: str | Path,
    out: Path,
    tokenizer: Path | None = None,
    workers: int | None = None,
    overrides: Sequence[str] = (),
) -> Manifest:
    """Build the folder `out` from a corpus, or finish a build, or find it built.

    overrides: of the corpus file, `sources.web.revision=...`.
    tokenizer: a tokenizer's folder, copied to `out/tokenizer`; the default is the one there. workers: processes, one a
    core by default. Raises UserError for wrong input and where `out` holds another build; OSError for a full disk.
    """
    with ordered(corpus, out, tokenizer, overrides) as order:
        if (out / MANIFEST).exists():
            return _built_before(order)
        with Workers(workers) as pool:
            work = prepare(order.corpus, pool).work
            folder = begin(order, work)
            try:
                run_stages(writing_stages(folder), pool)
            except BaseException:
                _sweep(out)
                raise
    manifest = open_manifest(out)
    tokens = sum(shard.tokens for shard in manifest.shards)
    print(f"{out}: {len(manifest.shards)} shards, {tokens:,} tokens", file=sys.stderr)
    return manifest


@contextmanager
def ordered(corpus: str | Path, out: Path, tokenizer: Path | None, overrides: Sequence[str] = ()) -> Iterator[Order]:
    """What is to be built, checked, while no other process of this machine builds in `out`. Raises UserError."""
    read = read_corpus(corpus, overrides)
    warn_of_licences(read)
    folder = open_tokenizer(tokenizer or out / TOKENIZER)
    key = content_hash([BUILDER, corpus_key(read), folder.record.model_dump()])
    make_folder(out)
    _refuse_foreign(out)
    with locked(out, refuse="a build"):
        yield Order(read, out, folder, key)


def plan_build(order: Order) -> BuildFolder | None:
    """Make a build ready to be run stage by stage, by any processes; None where it is built.

    The sources are fetched and listed now, by this process: those that run the stages need no internet.
    """
    if (order.out / MANIFEST).exists():
        _built_before(order)
        return None
    return begin(order, plan_work(order.corpus))


def open_build(out: Path) -> BuildFolder:
    """A build that was begun. Raises UserError where there is none."""
    try:
        values = orjson.loads((out / WORK / PLAN).read_bytes())
    except FileNotFoundError:
        raise UserError("no build was begun here", where=out, way_out=_NOT_BEGUN) from None
    return BuildFolder(out, Work(Path(values["work"])))


def build_stages(folder: BuildFolder, corpus: Corpus) -> list[Stage]:
    """All stages of a build. Nothing is read yet: neither folder need be there."""
    return [*preparing_stages(folder.work, corpus), *writing_stages(folder)]


def writing_stages(folder: BuildFolder) -> list[Stage]:
    """From the choice among documents to the manifest."""
    return [PlanShards(folder), Encode(folder), Seal(folder)]


def _refuse_foreign(out: Path) -> None:
    """Raise UserError where `out` holds `train/` or `heldout/` that no build of ours began."""
    foreign = [name for name in SPLITS if (out / name).exists()]
    if foreign and not (out / STATE).exists():
        found = ", ".join(f"{name}/" for name in foreign)
        raise UserError(
            "holds something else, which a build would replace",
            where=out,
            found=found,
            wanted="a new or empty folder, or one that a build began",
            way_out="choose another --out",
        )


def _built_before(order: Order) -> Manifest:
    """The manifest that is there; where only what is said of the sources has changed (a licence), it says so now."""
    out, corpus = order.out, order.corpus
    if not _is_begun(order):
        raise UserError(
            "holds a build of another corpus, tokenizer or version of the data",
            where=out,
            way_out="choose another --out; where only times or places of local files changed, that build's data "
            "are the same, and runs go on with them",
        )
    manifest = open_manifest(out)
    records = {name: source_record(corpus, name, source_facts(name, own)) for name, own in corpus.sources.items()}
    facts = {"name": corpus.name, "sources": records}
    if all(getattr(manifest, name) == value for name, value in facts.items()):
        print(f"{out}: built already, nothing to do", file=sys.stderr)
        return manifest
    manifest = manifest.model_copy(update=facts)
    manifest.write(out)
    _write_state(order)
    print(f"{out}: built already; what its manifest says of the sources is brought up to date", file=sys.stderr)
    return manifest


def _is_begun(order: Order) -> bool:
    """Whether the folder holds a build of this very order, finished or not."""
    state = order.out / STATE
    return state.exists() and orjson.loads(state.read_bytes())["key"] == order.key


def _write_state(order: Order) -> None:
    content = {"key": order.key, "corpus": order.corpus.model_dump(mode="json", exclude_none=True)}
    atomic_write(order.out / STATE, orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")


def begin(order: Order, work: Work) -> BuildFolder:
    """Clear what a build of something else left unfinished, say what this one builds, and copy the tokenizer."""
    out = order.out
    if not _is_begun(order):
        for name in (*SPLITS, WORK):
            if (out / name).exists():
                print(f"{out / name}: left by an unfinished build of something else, removed", file=sys.stderr)
                shutil.rmtree(out / name)
        for name in (DOCUMENTS, REJECTED):  # a new build may have none of these, and must not show another's
            (out / name).unlink(missing_ok=True)
        _write_state(order)
    (out / WORK).mkdir(exist_ok=True)
    _sweep(out)
    atomic_write(out / WORK / PLAN, orjson.dumps({"work": str(work.folder)}))
    _install_tokenizer(order.tokenizer, out / TOKENIZER)
    return BuildFolder(out, work)


def _sweep(out: Path) -> None:
    for folder in (out, *(out / name for name in (*SPLITS, WORK))):
        remove_partials(folder)


def _install_tokenizer(folder: TokenizerFolder, path: Path) -> None:
    """Copy the tokenizer into the build's own folder, where it came from elsewhere."""
    if folder.path.resolve() == path.resolve():
        return
    if path.exists():
        if open_tokenizer(path).record == folder.record:
            return
        raise UserError("holds another tokenizer than --tokenizer", where=path, way_out="choose another --out")
    with new_folder(path) as copy:
        for file in folder.path.iterdir():
            if file.is_file():
                shutil.copyfile(file, copy / file.name)
