"""The card's French, where numbers decide it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas.ledger.ledger import sum_ledger
from clapas.recipe.recipe import read_recipe
from clapas.release.card import model_card
from clapas_data.manifest import open_manifest
from clapas_data.remove import remove
from corpora import write_corpus

BRANCH = {"event": "branch", "run": "runs/stem", "step": 1, "identity": "00"}


@pytest.mark.parametrize(
    ("names", "before", "since"),
    [
        (1, "1 document en avait été retiré avant cet entraînement ; il part d'un modèle qui a pu le lire.",
         "1 document en a été retiré depuis cet entraînement, qui a pu le lire."),
        (2, "2 documents en avaient été retirés avant cet entraînement ; il part d'un modèle qui a pu les lire.",
         "2 documents en ont été retirés depuis cet entraînement, qui a pu les lire."),
    ],
)  # fmt: skip
def test_removed_documents_are_told_in_singular_and_plural(tmp_path: Path, names: int, before: str, since: str) -> None:
    """Before a training, and since."""
    old = write_corpus(tmp_path, {"law": [[9] * 3]})
    taken = [(number + 1, f"train/law-00000#{number}") for number in range(names)]
    new = remove(tmp_path, taken, where=Path("names")).manifest
    recipe = read_recipe("test", [f"data.path={tmp_path}"])
    totals = sum_ledger([BRANCH])
    assert before in model_card(recipe, new, totals, "MIT", 1)
    assert since in model_card(recipe, old, totals, "MIT", 1, open_manifest(tmp_path))
    assert "retiré" not in model_card(recipe, old, totals, "MIT", 1)
