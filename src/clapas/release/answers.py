"""`release.yaml`: what only people know of a release, asked once, in French and English where the public reads it.

Nothing here has a default that could pass for an answer: a blank, or a word that stands for one, is refused with its
line, before anything is written. All else that the documents say is computed from the run (see `release.evidence`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, Field, StringConstraints, model_validator

from clapas.recipe.errors import UserError
from clapas.recipe.typed import Section, TypedFile, read_typed

PLACEHOLDER = re.compile(
    r"\b(?:TODO|TBD|FIXME|XXX+|lorem ipsum|à (?:compléter|remplir|définir|renseigner))\b"
    r"|\bto be (?:completed|defined|filled)\b|\.\.\.$|…$",
    re.I,
)
"""What stands where an answer should be."""
NOTHING = re.compile(r"[\W_]+|n/?a", re.I)
"""A whole answer that is none: `?`, `-`, `N/A`."""
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def _like(pattern: str, wanted: str) -> AfterValidator:
    """Text of a form, which a message names as people do."""

    def checked(value: str) -> str:
        if not value.strip():
            raise ValueError(f"blank; wanted: {wanted}")
        if not re.fullmatch(pattern, value):
            raise ValueError(f"found {value!r}; must be {wanted}")
        return value

    return AfterValidator(checked)


def _in_the_calendar(value: str) -> str:
    try:
        date.fromisoformat(value if len(value) > len("2026-11") else f"{value}-01")
    except ValueError as error:
        raise ValueError(f"found {value!r}; not in the calendar: {error}") from None
    return value


MAIL = r"[^@\s]+@[^@\s]+\.[^@\s]+"
PAGE = r"https?://\S+\.\S+"
CALENDAR = AfterValidator(_in_the_calendar)
Date = Annotated[str, _like(r"\d{4}-\d{2}-\d{2}", "a day, such as 2026-11-28"), CALENDAR]
Month = Annotated[str, _like(r"\d{4}-\d{2}", "a month, such as 2026-03"), CALENDAR]
Repository = Annotated[str, _like(r"[\w-][\w.-]*/[\w-][\w.-]*", "OWNER/NAME")]
Country = Annotated[str, _like(r"[A-Z]{2}", "two capitals, ISO 3166's code, such as FR")]
Mail = Annotated[Text, _like(MAIL, "an address of mail, such as contact@example.org")]
Page = Annotated[Text, _like(PAGE, "an address that begins with https://")]
MailOrPage = Annotated[
    Text, _like(f"{MAIL}|{PAGE}", "an address of mail, or of a page that begins with https://, where people answer")
]


class Bilingual(Section):
    """The same words in French and in English; Markdown."""

    fr: Text
    en: Text

    def said(self, language: str) -> str:
        """In `fr` or `en`."""
        return self.fr if language == "fr" else self.en


class Model(Section):
    """The model as the public knows it. licence: SPDX identifier of the weights'. repository: OWNER/NAME on a hub.

    languages: that it is made for, as ISO 639 codes, the first one first.
    on_market: the day on which it is placed on the Union's market: first made available.
    """

    name: Text
    version: Annotated[str, _like(r"\d+\.\d+(\.\d+)?([-.+][A-Za-z0-9.]+)?", 'numbers with points, such as "1.0.0"')]
    licence: Text
    repository: Repository
    languages: Annotated[
        tuple[Annotated[str, _like(r"[a-z]{2,3}", "ISO 639's code, such as fr")], ...], Field(min_length=1)
    ]
    on_market: Date
    summary: Bilingual


class Provider(Section):
    """Who releases the model and answers for it. small: a small or medium-sized enterprise, or a start-up.

    representative: its authorised representative in the Union, or null where it is established there itself.
    """

    name: Text
    address: Text
    country: Country
    website: Page
    email: Mail
    representative: Text | None
    small: bool


class Contacts(Section):
    """Addresses of mail or pages. takedown: for documents to be removed. rights: for complaints of right holders."""

    questions: MailOrPage
    takedown: MailOrPage
    rights: MailOrPage


class Author(Section):
    """For CITATION.cff."""

    family_names: Text
    given_names: Text
    affiliation: Text | None = None
    orcid: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{4}-\d{4}-\d{3}[\dX]$")] | None = None


class Use(Section):
    """What the model is for, what not, what it may be used for, and what its users must know of it."""

    intended: Bilingual
    out_of_scope: Bilingual
    acceptable: Bilingual
    limits: Bilingual


class Crawler(Section):
    """A crawler of the provider's own, or that worked for it."""

    name: Text
    purpose: Bilingual
    behaviour: Bilingual
    first: Month
    last: Month

    @model_validator(mode="after")
    def _in_order(self) -> Crawler:
        if self.first > self.last:
            raise ValueError(f"last: found {self.last}; must not be before first, {self.first}")
        return self


class Synthetic(Section):
    """Text that a model wrote for this training. generator: the model's name and version."""

    generator: Text
    description: Bilingual


class Licensed(Section):
    """Data under a commercial licence (from right holders or their representatives), or other private data."""

    concluded: bool
    private_data: bool
    description: Bilingual | None = None


class UserData(Section):
    """Data that users left. from_model: in talking to a model. from_services: in using the provider's other services.

    description: of the services, and of what was taken from them.
    """

    from_model: bool
    from_services: bool
    description: Bilingual


class SourceAnswer(Section):
    """What people know of a source of the data. kind: as the Commission's template sorts data.

    acquired: the months in which the text was acquired, first and last. description: what the texts are.
    large: over 3 % of all public data of its modality, by the provider's best estimate.
    licence_basis: where its licence is said, or how it was obtained. licence_decision: where docs/licences.md leaves it
    to people whether the weights' licence agrees with the source's: who decided that it does, and on what ground. It
    is printed. no_health_data: where the source seems to contain health data and has none: how people know. It is too.
    """

    kind: Literal["public", "licensed", "private", "crawled", "user", "synthetic", "other"]
    description: Bilingual
    acquired: tuple[Month, Month]
    large: bool
    licence_basis: Text
    attribution: Text
    licence_decision: Bilingual | None = None
    no_health_data: Bilingual | None = None

    @model_validator(mode="after")
    def _in_order(self) -> SourceAnswer:
        first, last = self.acquired
        if first > last:
            raise ValueError(f"acquired: found {first}, {last}; the first month must not come after the last")
        return self


class TrainingContent(Section):
    """What the Public Summary of Training Content asks of people. sources: by the name in the corpus.

    languages: what the texts are, linguistically: languages, varieties, periods. characteristics: others that matter,
    such as countries, regions or groups of people; null where there are none.
    """

    sources: Annotated[dict[str, SourceAnswer], Field(min_length=1)]
    content_types: Bilingual
    languages: Bilingual
    characteristics: Bilingual | None
    licensed: Licensed
    crawlers: tuple[Crawler, ...]
    user_data: UserData | None
    synthetic: tuple[Synthetic, ...]
    other: Bilingual | None
    opt_out: Bilingual
    illegal_content: Bilingual
    code_of_practice: bool
    """Whether the provider has signed the Code of Practice, whose copyright chapter has commitments of its own."""


class Documentation(Section):
    """What the Code of Practice's form asks of people. systems: of what type and nature those AI systems are into which
    the model can be integrated. design: why the model is built as it is; training: why it is trained as it is.

    unsuitable: how unsuitable data sources were detected. biases: how biases that can be identified were detected.
    """

    systems: Bilingual
    design: Bilingual
    training: Bilingual
    unsuitable: Bilingual
    biases: Bilingual


class Energy(Section):
    """Where the current came from. power_usage_effectiveness: of the site, annual; null: not known.

    watts_per_accelerator: of one accelerator (or rank, on CPUs) in use with its share of the node: what an estimate
    rests on where nothing was measured. carbon_intensity: g CO2e a kWh. Each figure with where it is from.
    """

    country: Country
    site: Text
    power_usage_effectiveness: Annotated[float, Field(ge=1, le=3)] | None
    power_usage_effectiveness_source: Text | None
    watts_per_accelerator: Annotated[float, Field(gt=0)]
    watts_source: Text
    carbon_intensity: Annotated[float, Field(ge=0)]
    carbon_intensity_source: Text
    hardware: Text
    """The machines, as people name them: `2 cores of an x86 server`, `64 nodes of 4 NVIDIA H100 SXM5 80 GB`."""

    @model_validator(mode="after")
    def _each_figure_has_a_source(self) -> Energy:
        if self.power_usage_effectiveness is not None and self.power_usage_effectiveness_source is None:
            raise ValueError("power_usage_effectiveness_source: blank; wanted: where the figure is from")
        return self


class Health(Section):
    """Asked where a source contains health data. legal_basis: of the GDPR, articles 6 and 9, or the national law's."""

    legal_basis: Bilingual
    authorisation: Text
    deidentification: Bilingual
    not_a_medical_device: bool


class FirstModel(Section):
    """What people know of a model that the run began with, or learned from. licence: its SPDX identifier. summary: its
    own summary of training content, a page; null where its provider has none. training_flops: of its training, null
    where unknown. parameters: of a teacher, those that multiply for one token. licence_decision: of a teacher, as of a
    source of data.
    """

    name: Text
    revision: Text
    url: Text
    licence: Text
    attribution: Text
    summary: Text | None
    training_flops: Annotated[float, Field(gt=0)] | None
    parameters: Annotated[int, Field(gt=0)] | None = None
    licence_decision: Bilingual | None = None


class Benchmark(Section):
    """A data set on a hub that holds what a model was measured on: OWNER/NAME, and the task's name in it."""

    dataset: Repository
    task: Text


class Signer(Section):
    """Who signs without a key of their own, through Sigstore. identity: an address of mail, or a workflow's URL.

    provider: the URL of the OpenID Connect issuer where they log in.
    """

    identity: Text
    provider: Text


class Change(Section):
    """A version of the model."""

    version: Text
    date: Date
    changes: Bilingual


class Answers(TypedFile):
    """A whole `release.yaml`. base_models: by the name of the folder that `model.from`, `lora.from` or a teacher named.

    benchmarks: by the name of a task or of a held-out split, where what it asks is a data set on a hub: only these
    results can stand on its pages. signer: null where a local key signs.
    """

    model: Model
    provider: Provider
    contacts: Contacts
    authors: Annotated[tuple[Author, ...], Field(min_length=1)]
    use: Use
    training_content: TrainingContent
    documentation: Documentation
    energy: Energy
    health: Health | None = None
    base_models: dict[str, FirstModel] = Field(default_factory=dict)
    benchmarks: dict[str, Benchmark] = Field(default_factory=dict)
    changes: Annotated[tuple[Change, ...], Field(min_length=1)]
    signer: Signer | None = None

    def to_yaml(self) -> str:
        """Every answer; reading it gives equal answers."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)

    @model_validator(mode="after")
    def _this_version_is_told(self) -> Answers:
        if self.model.version not in (told := [change.version for change in self.changes]):
            raise ValueError(f"changes: found {', '.join(told)}; must tell of {self.model.version}, which is released")
        return self


def read_answers(path: Path) -> Answers:
    """The answers in a file. Raises UserError that names the line of every blank and placeholder."""
    if not path.is_file():
        way_out = "`clapas release RUN --template > release.yaml` writes a blank one"
        raise UserError("no such file", where=path, wanted="the answers, a release.yaml", way_out=way_out)
    answers = read_typed(path, Answers)
    if blank := list(blanks(answers)):
        lines = "\n".join(f"           {answers.place(key) or path}: {key}: {found}" for key, found in blank)
        raise UserError(
            f"{len(blank)} answer{'s are' if len(blank) > 1 else ' is'} still open",
            where=path,
            found=f"\n{lines}",
            wanted="an answer from somebody who knows; nothing is assumed",
        )
    return answers


def blanks(section: BaseModel | Any, key: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, what stands there) of every text that is blank or a placeholder."""
    if isinstance(section, str):
        if not section.strip():
            yield key, "blank"
        elif PLACEHOLDER.search(section) or NOTHING.fullmatch(section.strip()):
            yield key, repr(section if len(section) < 60 else section[:57] + "…")
        return
    if isinstance(section, BaseModel):
        items: Any = ((name, getattr(section, name)) for name in type(section).model_fields)
    elif isinstance(section, dict):
        items = section.items()
    elif isinstance(section, list | tuple):
        items = enumerate(section)
    else:
        return
    for name, value in items:
        yield from blanks(value, f"{key}.{name}" if key else str(name))
