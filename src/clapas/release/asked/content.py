"""What is asked of the texts that a model was trained on: as the Public Summary of Training Content sorts them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from clapas.recipe.typed import Section
from clapas.release.asked.forms import Bilingual, Month, Text


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
    licence_basis: Bilingual
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

    @model_validator(mode="after")
    def _licensed_data_are_described(self) -> TrainingContent:
        kinds = {source.kind for source in self.sources.values()}
        for key, kind, there in (
            ("concluded", "licensed", self.licensed.concluded),
            ("private_data", "private", self.licensed.private_data),
        ):
            if there and kind not in kinds and self.licensed.description is None:
                raise ValueError(f"licensed.description: blank; wanted: what these data are, as {key} is true")
        return self
