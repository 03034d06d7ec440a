"""Whether an expression is one of SPDX's, by `license-expression`, which brings SPDX's list."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from clapas.release.licences.terms import KNOWN
from clapas.release.licences.texts import WEIGHTS
from clapas_data.optional import needs

if TYPE_CHECKING:
    from license_expression import Licensing

OWN = "licenseref-"
"""How identifiers begin that SPDX leaves to their users, for licences that it does not list."""


def spdx_problem(expression: str) -> str | None:
    """Why an expression is none of SPDX's; None where it is. Raises UserError without `license-expression`."""
    if not expression.strip():
        return "no licence is said"
    listing = spdx_list()
    from license_expression import ExpressionError

    try:
        unknown = listing.unknown_license_keys(expression)
    except ExpressionError as error:
        return f"{expression!r} is no SPDX expression: {str(error).splitlines()[0]}"
    listed = {name.lower() for name in (*KNOWN, *WEIGHTS)}  # SPDX's list grows faster than the library's
    if other := [name for name in unknown if name.lower() not in listed and not name.lower().startswith(OWN)]:
        return f"SPDX lists no {', '.join(other)}"
    return None


@cache
def spdx_list() -> Licensing:
    """SPDX's list as the library has it; read once. Raises UserError without it."""
    with needs("license_expression", "checking licences", extra="verify"):
        from license_expression import get_spdx_licensing
    return get_spdx_licensing()
