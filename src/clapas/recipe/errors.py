"""The two ways in which Clapas stops: the user's input is wrong, or something outside failed.

A message says what is wrong, where, the value found, the value wanted, and the way out. The command line prints it
without a traceback; the exit code tells a script which of the two it was.
"""

from __future__ import annotations

from pathlib import Path

from clapas.recipe.secrets import hide

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_RUN_ME_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: stopped early and saved
EXIT_INTERRUPTED = 130  # 128 + SIGINT


class ClapasError(Exception):
    """Something outside the user's input failed (a full disk, a dead rank). Nothing is lost; exit 1.

    No message shows a secret (see `recipe.secrets`): it goes into the ledger and the job's log.
    """

    exit_code = EXIT_FAILED

    def __init__(
        self,
        what: str,
        *,
        where: str | Path | None = None,
        found: object = None,
        wanted: str | None = None,
        way_out: str | None = None,
    ) -> None:
        self.what = hide(what)
        self.where = None if where is None else str(where)
        self.found = found
        self.wanted = wanted
        self.way_out = way_out
        self.told_by_another = False  # rank 0 prints what all ranks raise alike (`Ranks.said_once`)
        super().__init__(self.render())

    def render(self) -> str:
        """The message as printed: `where: what`, then one indented line for each thing known."""
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        for label, value in (("found", self.found), ("wanted", self.wanted), ("way out", self.way_out)):
            if value is not None:
                lines.append(f"  {label + ':':9}{value}")
        return hide("\n".join(lines))


class UserError(ClapasError):
    """The user's input is wrong: one message, no traceback, exit 2."""

    exit_code = EXIT_BAD_INPUT
