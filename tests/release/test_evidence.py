"""What a release says of a run is what the run's own files say; and nothing of the machine."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

import orjson
import pytest
from tests.evaluate.small import CONFIG
from tests.release.drafts import NOW, small_evidence
from tests.release.provenance_draft import draft_of

from clapas.checkpoint.reader import open_checkpoint
from clapas.ledger.ledger import read_ledger, sum_ledger
from clapas.loader.plan import DataPlan
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe, read_recipe
from clapas.release.evidence.evidence import Evidence, read_evidence
from clapas.release.evidence.gather import gather
from clapas.release.evidence.lineage import begun_with
from clapas.release.evidence.public import public
from clapas.release.evidence.tokens_read import tokens_read
from clapas.release.gate.checks.sources import check_sources
from clapas_data.manifest import open_manifest
from commands import Clapas


@pytest.fixture(scope="module")
def evidence(trained_run: Path) -> Evidence:
    """Of the tests' finished run."""
    return small_evidence(trained_run)


def test_sums_are_the_ledgers(evidence: Evidence, trained_run: Path) -> None:
    """Tokens, FLOPs, seconds and held-out figures; and the tokens of all sources make up the run's."""
    totals = sum_ledger(read_ledger(trained_run))
    assert (evidence.tokens, evidence.compute.flops, evidence.compute.seconds) == (
        totals.tokens, totals.flops, totals.seconds,
    )  # fmt: skip
    assert evidence.held_out[-1].bits_per_byte == totals.evaluations[-1]["bits_per_byte"]
    assert sum(source.tokens_read for source in evidence.own_data.sources) == totals.tokens
    assert evidence.own_data.manifest_hash == open_manifest(read_recipe(trained_run / "recipe.yaml").data.path).hash


def test_nothing_tells_of_the_machine(evidence: Evidence, trained_run: Path) -> None:
    """No folder of this machine, no host; and it comes back from its file as it was."""
    text = evidence.to_json().decode()
    host = orjson.loads(next((trained_run / "segments").glob("*/environment.json")).read_bytes())["host"]
    assert str(trained_run) not in text
    assert not re.search(r'"/(?:\w+/)+', text)
    assert f'"{host}"' not in text
    assert public("at /scratch/me/data/x.bin, see https://a.example/b/c") == "at x.bin, see https://a.example/b/c"


def test_it_is_read_back_as_written(evidence: Evidence, tmp_path: Path) -> None:
    """The file gives equal evidence; what is none is refused by the field."""
    (tmp_path / "evidence.json").write_bytes(evidence.to_json())
    assert read_evidence(tmp_path) == evidence
    (tmp_path / "evidence.json").write_bytes(b'{"version": 1}')
    with pytest.raises(UserError, match="not a release's evidence: clapas"):
        read_evidence(tmp_path)


def test_tokens_by_source_are_those_of_the_documents(test_data: Path, tmp_path: Path) -> None:
    """Without a mixture, over epochs and left-out windows: counted sample by sample, by hand, they are the same."""
    folder = Path(shutil.copytree(test_data, tmp_path / "data"))
    values = orjson.loads((folder / "manifest.json").read_bytes())
    values.pop("hash")
    values["sources"]["other"] = values["sources"]["fiches-travail"]
    values["shards"] += [shard | {"source": "other"} for shard in values["shards"]]  # the same text, as another's
    (folder / "manifest.json").write_bytes(orjson.dumps(values))
    recipe = read_recipe("test", [f"data.path={folder}", "train.steps=60", "data.sequence_length=128"])
    plan = DataPlan.of_recipe(recipe).leaving_out([(5, 9)])
    counted: Counter[str] = Counter()
    for step in range(3, 61):
        for index in plan.interval(step):  # of steps 5 to 9, which came again, those of the last time
            counted[plan.manifest.shards[plan.spans(index)[0].shard].source] += 128
    assert tokens_read(plan, 2, 60) == {name: counted[name] for name in plan.sources}
    assert set(counted) == {"fiches-travail", "other"}


@pytest.mark.slow
def test_a_branch_and_a_base_are_followed(clapas: Clapas, trained_run: Path, test_data: Path, tmp_path: Path) -> None:
    """Both runs' data count; a stem that is gone is named."""
    checkpoint = trained_run / "checkpoints" / open_checkpoint(trained_run).folder.name
    steps = open_checkpoint(trained_run).step + 2
    branch = (f"branch.checkpoint={checkpoint}", f"train.steps={steps}", f"data.path={test_data}", "run_dir=branch")
    branch = (*branch, "train.global_batch_size=4")  # half its stem's
    result = clapas("train", "test", *branch, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found = gather(tmp_path / "branch", open_checkpoint(tmp_path / "branch"), NOW)
    assert [data.relation for data in found.data] == ["this", "branch"]
    assert sum(data.tokens_read for data in found.data) == found.tokens == ((steps - 2) * 8 + 2 * 4) * 128
    draft = draft_of(tmp_path / "draft", found)
    assert check_sources(draft).status == "pass", check_sources(draft).said
    assert [stem.step for stem in found.stems] == [steps - 2]
    assert not found.missing_stems


def test_an_adapter_that_a_run_went_on_with_is_known_by_its_weights() -> None:
    """As its base is: name, role and hash stand in the evidence, and so in the card."""
    recipe = Recipe.model_validate(
        {
            "name": "further",
            "model": {**CONFIG.facts(), "from": "models/lucie", "from_seal": "a" * 64},
            "lora": {"rank": 4, "from": "adapters/chat", "seal": "b" * 64},
            "data": {"path": "data", "sequence_length": 16},
            "train": {"steps": 1, "global_batch_size": 1},
        }
    )
    assert [(begun.role, begun.name, begun.seal) for begun in begun_with(recipe)] == [
        ("weights", "lucie", "a" * 64),
        ("adapter", "chat", "b" * 64),
    ]
