"""All checks, at once: each in a thread of its own, so that a dead file server holds up nobody else's answer."""

from __future__ import annotations

import threading
import time

from clapas.launch.doctor import (
    accelerator,
    clock,
    limits,
    memory,
    network,
    packages,
    queues,
    recipe_fit,
    storage,
    variables,
)
from clapas.launch.doctor.finding import Case, Check, Finding

DEADLINE_SECONDS = 60.0
"""For all checks together. Programs are given 10 seconds each; what is left are reads of a file system."""

CHECKS: tuple[tuple[str, Check], ...] = (
    ("versions", packages.versions),
    ("torch build", packages.build_fits),
    ("driver", packages.driver),
    ("collectives library", packages.collectives_library),
    ("torch extension locks", packages.extension_locks),
    ("slowing variables", variables.slowing),
    ("threads", variables.threads),
    ("offline variables", variables.offline),
    ("accelerator", accelerator.accelerators),
    ("limits", limits.limits),
    ("/dev/shm", limits.shared_memory),
    ("disk", storage.room),
    ("quota", storage.quota),
    ("purge", storage.purge),
    ("clock of the file server", clock.file_server),
    ("clock synchronised", clock.synchronised),
    ("site", recipe_fit.directories),
    ("data", recipe_fit.data),
    ("recipe", recipe_fit.ranks),
    ("precision", recipe_fit.precision),
    ("memory", memory.memory),
    ("queues", queues.queues),
)
"""Name -> check, in the order in which findings are told."""


def doctor(case: Case | None = None, deadline: float = DEADLINE_SECONDS, *, probe: bool = False) -> list[Finding]:
    """All findings. A check that has not answered within `deadline` seconds is itself a failure.

    probe: also start a small job on the nodes, which has time-outs of its own.
    """
    chosen = case or Case()
    found: dict[str, list[Finding]] = {}
    threads = [
        threading.Thread(target=_answer, args=(name, check, chosen, found), daemon=True) for name, check in CHECKS
    ]
    end = time.monotonic() + deadline
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    findings = [finding for name, _ in CHECKS for finding in found.get(name, [_silent(name, deadline)])]
    return [*findings, *network.probe(chosen)] if probe else findings


def _answer(name: str, check: Check, case: Case, found: dict[str, list[Finding]]) -> None:
    """Run one check. What it could not read is told as such: the others go on."""
    try:
        answer = list(check(case))
    except OSError as error:
        answer = [Finding(name, "skipped", f"{error.filename or ''}: {error.strerror}")]
    found[name] = answer


def _silent(name: str, deadline: float) -> Finding:
    why = "a file system or a driver that does not answer holds up every rank too"
    return Finding(name, "failure", f"no answer within {deadline:g} s", why, "df; mount; ask the administrators")
