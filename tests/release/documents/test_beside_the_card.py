"""What stands beside the card: results for the Hub, plots, citation, changelog."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from tests.release.drafts import answer_values, small_answers, small_evidence, small_facts

from clapas.recipe.errors import UserError
from clapas.release.answers import Answers
from clapas.release.documents import changelog, citation, eval_results, images
from clapas.release.documents.facts import Facts
from clapas.release.documents.results import last_held_out


@pytest.fixture(scope="session")
def facts(trained_run: Path) -> Facts:
    """Of the tests' finished run."""
    return small_facts(small_evidence(trained_run))


def test_results_for_the_hub_are_those_of_data_sets_there(facts: Facts) -> None:
    """None unless people say that a split or a task is one; then as the Hub's library reads it."""
    assert eval_results.documents(facts) == {}
    values = answer_values() | {"benchmarks": {"heldout": {"dataset": "clapas/tenu-a-l-ecart", "task": "default"}}}
    found = eval_results.documents(small_facts(facts.evidence, Answers.model_validate(values)))
    (entry,) = parse_eval_result_entries(yaml.safe_load(found[".eval_results/heldout.yaml"]))
    (row,) = last_held_out(facts.evidence)
    assert (entry.dataset_id, entry.value, entry.notes) == ("clapas/tenu-a-l-ecart", row.bits_per_byte, "bits per byte")


def test_plots_of_the_same_evidence_are_the_same_bytes(facts: Facts) -> None:
    """Whatever the user's own settings of matplotlib."""
    import matplotlib as mpl

    first = images.documents(facts)
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30}):
        assert images.documents(facts) == first
    assert {name for name, content in first.items() if content.startswith(b"\x89PNG")} == {images.LOSS, images.DATA}
    assert all(b"matplotlib" not in content and b"tIME" not in content for content in first.values())


def test_plots_without_matplotlib_are_refused_by_name(facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the way to have it."""
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"matplotlib.*\n.*clapas\[release\]"):
        images.documents(facts)


def test_the_citation_is_of_this_version(facts: Facts) -> None:
    """The format's required fields; the licence's page where the format does not know it."""
    said = yaml.safe_load(citation.documents(facts)["CITATION.cff"])
    assert (said["cff-version"], said["title"], said["version"]) == ("1.2.0", "Clapas démo", "1.0.0")
    assert (said["date-released"], said["license"]) == ("2026-11-28", "Apache-2.0")
    values = answer_values()
    values["model"]["licence"] = "OpenMDW-1.0"
    values["authors"] = [{"family_names": "Dûpont & Fils", "given_names": "É.", "orcid": "0000-0002-1825-0097"}]
    other = small_facts(facts.evidence, Answers.model_validate(values))
    said = citation.citation(other)
    assert said["license-url"] == "https://spdx.org/licenses/OpenMDW-1.0.html"
    assert said["authors"][0]["orcid"] == "https://orcid.org/0000-0002-1825-0097"
    assert r"author = {{Dûpont \& Fils}, É.}" in citation.bibtex(other)


def test_the_changelog_tells_of_every_version_newest_first(facts: Facts) -> None:
    """In both languages; a release that its changelog does not tell of is refused."""
    values = answer_values()
    change = {"version": "0.9", "date": "2026-01-01", "changes": {"fr": "Essai.", "en": "Try."}}
    values["changes"] = [change, *values["changes"]]
    text = changelog.documents(small_facts(facts.evidence, Answers.model_validate(values)))["CHANGELOG.md"].decode()
    assert text.index("### 1.0.0") < text.index("### 0.9") < text.index("Essai.") < text.index("Try.")
    values["changes"] = [change]
    with pytest.raises(ValueError, match=r"must tell of 1\.0\.0"):
        Answers.model_validate(values)
    assert small_answers().changes
