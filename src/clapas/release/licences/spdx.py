"""Whether an expression is one of SPDX's, by `license-expression`, which brings SPDX's list."""

from __future__ import annotations

from clapas.release.licences.terms import KNOWN
from clapas.release.licences.texts import WEIGHTS
from clapas_data.optional import needs

OWN = "licenseref-"
"""How identifiers begin that SPDX leaves to their users, for licences that it does not list."""


def spdx_problem(expression: str) -> str | None:
    """Why an expression is none of SPDX's; None where it is. Raises UserError without `license-expression`."""
    with needs("license_expression", "checking licences", extra="verify"):
        from license_expression import ExpressionError, get_spdx_licensing
    if not expression.strip():
        return "no licence is said"
    try:
        unknown = get_spdx_licensing().unknown_license_keys(expression)
    except ExpressionError as error:
        return f"{expression!r} is no SPDX expression: {str(error).splitlines()[0]}"
    listed = {name.lower() for name in (*KNOWN, *WEIGHTS)}  # SPDX's list grows faster than the library's
    if other := [name for name in unknown if name.lower() not in listed and not name.lower().startswith(OWN)]:
        return f"SPDX lists no {', '.join(other)}"
    return None
