"""A stranger that remembers: what it sees is a function of the model's files alone: each content is looked at once."""

from __future__ import annotations

import hashlib
from pathlib import Path

from clapas.release.gate.seen import Probes, Seen
from clapas.release.gate.stranger import Stranger

READ = ("*.json", "*.jinja", "*.safetensors", "*.py", "*.bin", "additional_chat_templates/*")
"""What transformers may read of a folder."""
NOT_READ = frozenset(("evidence.json", "release.json"))


class Remembering(Stranger):
    """For the many broken copies of one release, of which most differ in files that transformers does not read."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[tuple[str, int], Seen] = {}
        self._asked: list[Probes | None] = []  # kept, so that no other gets the number of one that is gone

    def look(self, folder: Path, probes: Probes | None) -> Seen:
        """As a stranger sees it, now or when it was last asked about the same files."""
        key = (_content(folder), id(probes))
        if key not in self._known:
            self._asked.append(probes)
            self._known[key] = super().look(folder, probes)
        return self._known[key]


def _content(folder: Path) -> str:
    content = hashlib.sha256()
    for path in sorted({path for pattern in READ for path in folder.glob(pattern)}):
        if path.name not in NOT_READ and path.is_file():
            content.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
            content.update(path.read_bytes())
    return content.hexdigest()
