"""The forms of answers: text, dates, addresses, and words in both languages. A message names each as people do."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints, model_validator

from clapas.recipe.typed import Section

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
Version = Annotated[str, _like(r"\d+\.\d+(\.\d+)?([-.+][A-Za-z0-9.]+)?", 'numbers with points, such as "1.0.0"')]
LanguageCode = Annotated[str, _like(r"[a-z]{2,3}", "ISO 639's code, such as fr")]
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

    @model_validator(mode="before")
    @classmethod
    def _twice(cls, value: Any) -> Any:
        if value is None or isinstance(value, str):
            found = f"found {value!r}" if value and value.strip() else "blank"
            raise ValueError(f"{found}; must be in both languages: {{fr: …, en: …}}")
        return value

    def said(self, language: str) -> str:
        """In `fr` or `en`."""
        return self.fr if language == "fr" else self.en
