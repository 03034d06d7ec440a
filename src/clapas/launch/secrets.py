"""What must never be written down: tokens and keys, found by their form and by the environment that holds them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

HIDDEN = "[hidden by clapas]"
NAMES = re.compile(r"TOKEN|SECRET|PASSW|API_?KEY|ACCESS_KEY|PRIVATE|CREDENTIAL", re.IGNORECASE)
"""In the names of environment variables that hold secrets."""
SHORTEST = 8
"""Characters of a value that is looked for: shorter ones stand everywhere."""
FORMS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----"
    r"|\bhf_[A-Za-z0-9]{20,}"  # Hugging Face
    r"|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}"
    r"|\bglpat-[\w-]{15,}"  # GitLab
    r"|\bsk-[\w-]{20,}"  # OpenAI and those who copied its form
    r"|\bAKIA[A-Z0-9]{16}\b"  # AWS
    r"|\bxox[abprs]-[\w-]{10,}"  # Slack
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # user:password@ in an address
)
ASSIGNED = re.compile(
    r"(?i)((?:[\w-]*(?:token|secret|passw(?:or)?d|api_?key|access_key)[\w-]*)[\"']?\s*[:=]\s*[\"']?)([^\s\"',;]{8,})"
)
"""`wandb_api_key = "…"`, `TOKEN: …`."""


def hide(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """A text without secrets: none of a known form, none assigned to a telling name, none that `environment` holds."""
    held = {value for name, value in environment.items() if NAMES.search(name) and len(value) >= SHORTEST}
    for value in sorted(held, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return ASSIGNED.sub(_hide_value, FORMS.sub(HIDDEN, text))


def _hide_value(match: re.Match[str]) -> str:
    """Hide what looks like a value, and not code such as `tokens = batch.tokens`."""
    value = match[2]
    is_random = any(c.isdigit() for c in value) and any(c.isalpha() for c in value) and len(set(value)) >= SHORTEST
    return match[1] + (HIDDEN if is_random and re.fullmatch(r"[\w+/=.~-]+", value) else value)
