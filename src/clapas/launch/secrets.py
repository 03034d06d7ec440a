"""Secrets in code: beside those that `recipe.secrets` knows, values that are assigned to a telling name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from clapas.recipe import secrets
from clapas.recipe.secrets import HIDDEN, SHORTEST

__all__ = ["HIDDEN", "hide"]

ASSIGNED = re.compile(
    r"(?i)((?:[\w-]*(?:token|secret|passw(?:or)?d|api_?key|access_key)[\w-]*)[\"']?\s*[:=]\s*[\"']?)([^\s\"',;]{8,})"
)
"""`wandb_api_key = "…"`, `TOKEN: …`."""


def hide(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """A text without secrets: none that `recipe.secrets` knows, and none assigned to a telling name."""
    return ASSIGNED.sub(_hide_value, secrets.hide(text, environment))


def _hide_value(match: re.Match[str]) -> str:
    """Hide what looks like a value, and not code such as `tokens = batch.tokens`."""
    value = match[2]
    is_random = any(c.isdigit() for c in value) and any(c.isalpha() for c in value) and len(set(value)) >= SHORTEST
    return match[1] + (HIDDEN if is_random and re.fullmatch(r"[\w+/=.~-]+", value) else value)
