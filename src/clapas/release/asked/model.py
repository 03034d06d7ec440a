"""What is asked of the model as the public knows it: its name, who answers for it, what it is for, where it is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from clapas.recipe.typed import Section
from clapas.release.asked.forms import (
    Bilingual,
    Country,
    Date,
    LanguageCode,
    Mail,
    MailOrPage,
    Page,
    Repository,
    Text,
    Version,
)


class Model(Section):
    """The model as the public knows it. licence: SPDX identifier of the weights'. repository: OWNER/NAME on a hub.

    languages: that it is made for, as ISO 639 codes, the first one first.
    on_market: the day on which it is placed on the Union's market: first made available.
    """

    name: Text
    version: Version
    licence: Text
    repository: Repository
    languages: Annotated[tuple[LanguageCode, ...], Field(min_length=1)]
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


class Benchmark(Section):
    """A data set on a hub that holds what a model was measured on: OWNER/NAME, and the task's name in it."""

    dataset: Repository
    task: Text


class EvaluationSet(Section):
    """Questions of others that the model was asked, and that its release holds. licence: an SPDX expression."""

    name: Text
    url: Page
    licence: Text
    attribution: Text


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
