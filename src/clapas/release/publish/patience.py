"""Calls over a line that breaks: tried again a bounded number of times, with waits that grow, or as the server asks."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from clapas.recipe.errors import ClapasError, UserError

T = TypeVar("T")
TRIES = 8
FIRST_WAIT = 1.0
"""Seconds before the second try; each further wait is twice as long."""
LONGEST_WAIT = 120.0
"""Seconds: a server that asks for more is told about, not waited for."""
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
"""HTTP statuses that pass by themselves."""


class LineError(ClapasError):
    """The server did not answer, or not in time, in all tries."""


class HubError(ClapasError):
    """The Hub refused what was asked."""


def patiently(call: Callable[[], T], doing: str, also: tuple[int, ...] = ()) -> T:
    """What `call` returns, once the line bears it. doing: for messages, `reading the branches of OWNER/NAME`. also:
    HTTP statuses that pass here, besides those that do everywhere.

    Raises LineError after the last try; UserError where the Hub does not accept the token; HubError for what it
    refuses otherwise.
    """
    asked, last = 0.0, Exception()
    for wait in waits():
        time.sleep(max(wait, asked))
        try:
            return call()
        except Exception as error:
            told, last = _seconds_to_wait(error, (*TRANSIENT, *also)), error
            if told is None:
                raise _refused(error, doing) from error
            asked = told
        if asked > LONGEST_WAIT:
            break
        print(f"{doing}: {said(last)}", file=sys.stderr)
    raise _gave_up(last, doing, asked) from last


def waits() -> Iterator[float]:
    """Seconds to wait before each try."""
    yield 0.0
    yield from (FIRST_WAIT * 2**number for number in range(TRIES - 1))


def _seconds_to_wait(error: BaseException, transient: tuple[int, ...]) -> float | None:
    """How long the server asks to be left alone (0: it does not say); None where trying again cannot help."""
    from httpx2 import TransportError

    for cause in _causes(error):
        if isinstance(cause, TransportError):
            return 0
        if (response := getattr(cause, "response", None)) is not None:
            return _retry_after(response.headers) if response.status_code in transient else None
    return None


def _retry_after(headers: object) -> float:
    """Seconds that `Retry-After` asks for: a number, or a date (RFC 9110, 10.2.3)."""
    told = getattr(headers, "get")("Retry-After")  # noqa: B009 httpx2's, which is not typed here
    if told is None:
        return 0
    if told.strip().isdigit():
        return float(told)
    try:
        return max(0.0, (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it comes from."""
    while error is not None:
        yield error
        error = error.__cause__


def _status(error: BaseException) -> int | None:
    for cause in _causes(error):
        if (response := getattr(cause, "response", None)) is not None:
            return response.status_code
    return None


def _refused(error: Exception, doing: str) -> Exception:
    """What the user reads where trying again does not help; a defect of ours stays what it is."""
    from httpx2 import HTTPError

    if isinstance(error, ClapasError):
        return error
    if _status(error) in (401, 403):
        return UserError(
            f"the Hub does not accept the token: {doing}",
            where="HF_TOKEN",
            found=said(error),
            wanted="a token that may write to this repository",
        )
    if any(isinstance(cause, HTTPError) for cause in _causes(error)) or isinstance(error, ValueError | OSError):
        return HubError(f"refused: {doing}", found=said(error))
    return error


def _gave_up(error: Exception, doing: str, asked: float) -> LineError:
    found = f"it asks to come back in {asked:.0f} s" if asked > LONGEST_WAIT else f"{TRIES} tries; {said(error)}"
    return LineError(
        f"no answer: {doing}",
        found=found,
        way_out="run the same command again: it goes on, and what has arrived is not sent again",
    )


def said(error: BaseException) -> str:
    """An error in one line, without what stands behind `?` in addresses: there, stores sign uploads."""
    text = " ".join(str(cause) for cause in _causes(error))
    return re.sub(r"(https?://[^\s?]+)\?\S+", r"\1", " ".join(text.split()))[:500]
