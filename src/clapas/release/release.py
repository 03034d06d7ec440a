"""`clapas release RUN`: the model with all that a stranger needs to use and check it, in one folder that appears whole.

A first, honest form: the exported weights, the licence's text, a card with the ledger's figures, and sums over every
file; before the folder appears, a clean process has loaded it with stock transformers.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from clapas.checkpoint.reader import open_checkpoint
from clapas.ledger.ledger import read_ledger, sum_ledger
from clapas.loader.readers import data_that_ran
from clapas.recipe.errors import UserError
from clapas.recipe.files import new_folder
from clapas.release.card import model_card
from clapas.release.export import export, refuse_to_replace
from clapas.release.verify import check_loads, verification, write_sums
from clapas.train.run_folder import read_run_recipe
from clapas_data.licences import licence_flags
from clapas_data.manifest import Manifest, open_manifest

LICENCES = Path(__file__).parent / "licences"


def release(run: Path, out: Path, licence: str) -> dict[str, Any]:
    """Write a finished run as the folder `out`. licence: the SPDX identifier of the weights' licence.

    Raises UserError where the run is not finished, the licence is not one of those whose text ships, or that of a
    source of the data is unknown or does not allow it; NotSoundError where stock transformers does not load what was
    written.
    """
    refuse_to_replace(out)
    text = licence_text(licence)
    recipe = read_run_recipe(run)
    newest = open_manifest(recipe.data.path)
    manifest = data_that_ran(run, recipe, newest)
    check_sources(manifest)
    check_stems(run)
    reader = open_checkpoint(run)
    if reader.step != recipe.total_steps:
        found, wanted = f"step {reader.step}", f"step {recipe.total_steps}"
        raise UserError("this run is not finished", where=run, found=found, wanted=wanted, way_out="`clapas train`")
    totals = sum_ledger(read_ledger(run))
    with new_folder(out) as folder:
        export(reader.folder, folder, dtype="bf16")
        shutil.copyfile(text, folder / "LICENSE")
        card = model_card(recipe, manifest, totals, licence, hosts=_hosts(run), newest=newest)
        (folder / "README.md").write_text(card, encoding="utf-8")
        write_sums(folder)
        parameters = check_loads(folder)
        files = sum(path.is_file() for path in folder.iterdir()) - 1
    return verification(files, parameters)


def licence_text(licence: str) -> Path:
    """The file of a licence's text. Raises UserError where it does not ship."""
    path = LICENCES / f"{licence}.txt"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in LICENCES.glob("*.txt")))
        raise UserError("no text of this licence ships", where="--licence", found=licence, wanted=known)
    return path


def check_sources(manifest: Manifest) -> None:
    """Raise UserError where the licence of any source keeps a model from an open release: what its build warned of."""
    flagged = {
        f"{name} ({source.licence}: {', '.join(flags)})"
        for name, source in manifest.sources.items()
        if (flags := licence_flags(source.licence, (source.model_extra or {}).get("caveats", ())))
    }
    if flagged:
        raise UserError(
            "the licence of the training data is unknown, or keeps the model from an open release",
            where=manifest.folder,
            found="; ".join(sorted(flagged)),
            wanted="for each source a licence that allows it",
            way_out="train without these sources; or, where you know better, build with the licence that you hold: "
            "sources.NAME.licence=… (bare shards: `megatron:` in a corpus file)",
        )


def check_stems(run: Path) -> None:
    """The same for the runs that a branch comes from, as far as they and their data are still where they were; where
    they are not, that is said on stderr."""
    for stem in _stems(run):
        try:
            recipe = read_run_recipe(stem)
            manifest = data_that_ran(stem, recipe, open_manifest(recipe.data.path))
        except UserError as error:
            print(f"warning: the licences of what {stem} read were not checked: {error.what}", file=sys.stderr)
        else:
            check_sources(manifest)


def _stems(run: Path) -> Iterator[Path]:
    """The run that a branch left, the one that this left, and so on."""
    while (run / "ledger.jsonl").is_file() and (branch := sum_ledger(read_ledger(run)).branch) is not None:
        run = Path(branch["checkpoint"]).parent.parent
        yield run


def _hosts(run: Path) -> int:
    """Machines that the run's segments began on."""
    files = (run / "segments").glob("*/environment.json")
    return len({orjson.loads(path.read_bytes())["host"] for path in files})
