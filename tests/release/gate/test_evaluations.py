"""Check 20: what was measured is told with its answers, and nothing of it is missing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from clapas.evaluate.record import EVALUATIONS
from clapas.release.gate.check import Draft
from clapas.release.gate.checks.evaluations import check_evaluations
from release.drafts import small_answers, small_evidence

pytestmark = pytest.mark.slow  # a run is measured in every way first


@pytest.fixture(scope="module")
def good(released_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Draft:
    """The records of a measured run, as a release holds them. Read it, do not change it."""
    folder, evidence = tmp_path_factory.mktemp("measured"), small_evidence(released_run)
    (folder / EVALUATIONS).mkdir()
    for one in evidence.measured:
        (folder / EVALUATIONS / one.file).write_bytes(orjson.dumps(one.content))
        shutil.copyfile(released_run / EVALUATIONS / one.items, folder / EVALUATIONS / one.items)
    return Draft(folder, evidence, small_answers(), None, None)


def test_a_measured_run_passes(good: Draft) -> None:
    """Three tasks, four probes, and where the tasks' items were looked for."""
    verdict = check_evaluations(good)
    assert verdict.status == "pass", verdict.said
    assert verdict.said[0].startswith("3 tasks and 4 probes")


def test_every_corpus_of_the_lineage_is_asked_for(good: Draft) -> None:
    """A run that branched from one that had read other data: those are named, with the command."""
    own = good.evidence.own_data
    other = own.model_copy(update={"relation": "branch", "of": "stem", "name": "web", "manifest_hash": "1" * 64})
    evidence = good.evidence.model_copy(update={"data": (own, other)})
    (said,) = check_evaluations(replace(good, evidence=evidence)).said
    assert "in web, which stem read" in said
    assert "--data FOLDER" in said


@pytest.mark.parametrize(("kind", "status"), [("conversations", "pass"), ("text", "fail")])
def test_examples_may_be_too_short_to_be_remembered(good: Draft, tmp_path: Path, kind: str, status: str) -> None:
    """Where the record says why memorisation was not asked, that is enough for examples, and not for running text."""
    folder = Path(shutil.copytree(good.folder, tmp_path / "draft"))
    measured = []
    for one in good.evidence.measured:
        content = dict(one.content)
        if "memorisation" in content.get("probes", {}):
            probes = {name: probe for name, probe in content["probes"].items() if name != "memorisation"}
            content |= {"probes": probes, "not_run": {"memorisation": "every document is under 100 tokens"}}
        (folder / EVALUATIONS / one.file).write_bytes(orjson.dumps(content))
        measured.append(one.model_copy(update={"content": content}))
    own = good.evidence.own_data.model_copy(update={"kind": kind})
    evidence = good.evidence.model_copy(update={"measured": tuple(measured), "data": (own,)})
    verdict = check_evaluations(replace(good, folder=folder, evidence=evidence))
    assert verdict.status == status, verdict.said
