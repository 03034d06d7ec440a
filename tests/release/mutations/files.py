"""What check 1 finds: files that are missing or too many, code, links, paths of a machine, secrets."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.release.mutations.mutant import Case, Mutant

TOKEN = "hf_" + "mN7" * 12
"""Put together here, so that no scanner takes this file for a leak, as the next ones."""
GOOGLE, PYPI, NPM = "AIza" + "mN7" * 11 + "Qx", "pypi-AgEI" + "mN7" * 20, "npm_" + "mN7" * 12
KEY = "-----BEGIN " + "PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n-----END " + "PRIVATE KEY-----\n"
PICKLE = b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94."


def _add(name: str, content: str | bytes) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        path = case.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def _remove(name: str) -> Callable[[Case], None]:
    return lambda case: (case.folder / name).unlink()


def _log_line(text: str) -> Callable[[Case], object]:
    """A line in the results of the gate, which every release has and no other check reads."""
    return lambda case: (case.folder / "release.json").write_text(f'{{"log": "first line\\n{text}"}}')


def _said_twice(name: str, key: str, value: str) -> Callable[[Case], None]:
    """Another value first, which parsers that keep the first take, and ours does not see."""

    def change(case: Case) -> None:
        path = case.folder / name
        path.write_text(path.read_text().replace("{", f'{{"{key}": {value},', 1))

    return change


def _link(case: Case) -> None:
    """Weights by a link into a cache, as a copy with `ln -s` leaves them."""
    weights = next(iter(sorted(case.folder.glob("*.safetensors"))))
    elsewhere = Path(weights).rename(case.folder.parent / f"{case.folder.name}-{weights.name}")
    weights.symlink_to(os.path.relpath(elsewhere, case.folder))


MUTANTS = [
    Mutant("a model's code beside it", 1, _add("modeling_demo.py", "import os\n"), only=True),
    Mutant("an optimizer's state, pickled", 1, _add("optimizer.pt", PICKLE), only=True),
    Mutant("a pickle that calls itself weights of PyTorch", 1, _add("pytorch_model.bin", PICKLE), only=True),
    Mutant("a trainer's leftover", 1, _add("trainer_state.json", "{}"), only=True),
    Mutant("an editor's copy of the card", 1, _add("README.md~", "# Modèle\n"), only=True),
    Mutant("a folder's hidden leftover", 1, _add(".DS_Store", b"\x00\x00\x00\x01Bud1"), only=True),
    Mutant("weights by a symbolic link", 1, _link, only=True),
    Mutant("a path of the machine that trained", 1, _log_line("/home/anne/runs/demo/checkpoints"), only=True),
    Mutant("a scratch folder's path", 1, _log_line("/lustre/fsn1/projects/demo/run"), only=True),
    Mutant("a path after a machine's name", 1, _log_line("node01:/data/legi/run"), only=True),
    Mutant("a path of a disk on a Mac", 1, _log_line("/Volumes/Disque/legi"), only=True),
    Mutant("a path in an option of a compiler", 1, _log_line("cc -I/softs/cuda/include"), only=True),
    Mutant("a path as an address", 1, _log_line("file:/softs/run"), only=True),
    Mutant("a path in the writing of addresses", 1, _log_line("%2Fsps%2Flegi%2Frun"), only=True),
    Mutant("a path of Windows", 1, _log_line(r"d:\\donnees\\legi"), only=True),
    Mutant("a path of a server of Windows", 1, _log_line(r"\\\\serveur\\partage\\legi"), only=True),
    Mutant("a token of the Hub", 1, _log_line(TOKEN), only=True),
    Mutant("a key of Google's", 1, _log_line(GOOGLE), only=True),
    Mutant("a token of PyPI", 1, _log_line(PYPI), only=True),
    Mutant("a token of npm", 1, _log_line(NPM), only=True),
    Mutant("a secret key of AWS", 1, _log_line(f"aws_secret_access_key = {'mN7/' * 9}mN7x"), only=True),
    Mutant("config.json says theta twice", 1, _said_twice("config.json", "rope_theta", "500000.0"), only=True),
    Mutant("EOS is said twice", 1, _said_twice("generation_config.json", "eos_token_id", "5"), only=True),
    Mutant("a private key", 1, _add("key.pem", KEY), only=True),
    Mutant("JSON cut in the middle", 1, _add("release.json", '{"checks": ['), only=True),
    Mutant("no verification guide", 1, _remove("VERIFY.md")),
    Mutant("no special tokens' map", 1, _remove("special_tokens_map.json")),
    Mutant("a plot that is none", 1, _add("images/loss.png", PICKLE)),
]
