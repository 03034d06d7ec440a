"""What must never be written down: tokens, keys and passwords, known by their form or by the variable that holds them.

A run's folder is shared with a group, uploaded to W&B and published in part. So a recipe that holds a secret is refused
before it runs, and no message repeats one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "[hidden by clapas]"
NAMES = re.compile(
    r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|JWT|CREDENTIALS?|(API|ACCESS|PRIVATE|AUTH|SECRET)_?KEY)(_|$)",
    re.IGNORECASE,
)
"""In the names of environment variables that hold secrets: WANDB_API_KEY, but not TOKENIZERS_PARALLELISM."""
SHORTEST = 8
"""Characters of a value that is looked for: shorter ones stand everywhere."""
IN_ADDRESS = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")
"""`user:password` in an address, as in those of proxies and git remotes."""
FORMS = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----"),
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{20,}"),
    "a GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}"),
    "a GitLab token": re.compile(r"\bglpat-[\w-]{15,}"),
    "an API key": re.compile(r"\bsk-[\w-]{20,}"),
    "a Slack token": re.compile(r"\bxox[abprs]-[\w-]{10,}"),
    "a W&B key": re.compile(r"\bwandb_v1_\w{20,}"),
    "an AWS key": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|(?i:secret_?access_?key)\W{1,6}[A-Za-z0-9/+]{40}\b"),
    "a Google API key": re.compile(r"\bAIza[\w-]{35}\b"),
    "a token of PyPI": re.compile(r"\bpypi-[\w-]{50,}"),
    "a token of npm": re.compile(r"\bnpm_[A-Za-z0-9]{36}\b"),
    "a JSON web token": re.compile(r"\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+"),
    "a password in an address": IN_ADDRESS,
}
"""What it is -> how it looks."""


def held(environment: Mapping[str, str]) -> dict[str, str]:
    """Secret -> the variable that holds it, the longest first; passwords in proxies' addresses too.

    A path is none: GOOGLE_APPLICATION_CREDENTIALS names a file.
    """
    found = {
        value: name
        for name, value in environment.items()
        if NAMES.search(name) and len(value) >= SHORTEST and not value.startswith("/")
    }
    for name, value in environment.items():
        if name.lower().endswith("_proxy") and (match := IN_ADDRESS.search(value)):
            found[match[0]] = name
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


def secret_in(text: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """What kind of secret a text holds, without repeating it; None where it holds none."""
    for value, name in held(environment).items():
        if value in text:
            return f"the value of ${name}"
    return next((kind for kind, form in FORMS.items() if form.search(text)), None)


def hide(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """A text without secrets: none that the environment holds, none of a known form."""
    for value in held(environment):
        text = text.replace(value, HIDDEN)
    for form in FORMS.values():
        text = form.sub(HIDDEN, text)
    return text


def secret_keys(values: Any, environment: Mapping[str, str] = os.environ, key: str = "") -> dict[str, str]:
    """Dotted key -> the kind of secret that stands there, in nested mappings and lists."""
    if isinstance(values, str):
        kind = secret_in(values, environment)
        return {} if kind is None else {key: kind}
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    found: dict[str, str] = {}
    for name, value in items:
        found |= secret_keys(value, environment, f"{key}.{name}" if key else str(name))
    return found
