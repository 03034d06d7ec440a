"""What licences of texts and bases say of the licence of weights, and the texts that ship."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas.recipe.errors import UserError
from clapas.release.licences.spdx import spdx_list, spdx_problem
from clapas.release.licences.terms import KNOWN, agreement
from clapas.release.licences.texts import WEIGHTS, check_weights_licence, licence_text
from clapas_data.corpus import read_corpus
from clapas_data.licences import UNKNOWN


@pytest.mark.parametrize(
    ("weights", "licence", "text", "base"),
    [
        ("Apache-2.0", "etalab-2.0 AND Apache-2.0", "agrees", "agrees"),
        ("Apache-2.0", "ODC-By-1.0", "agrees", "agrees"),
        ("CC0-1.0", "LicenseRef-public-domain", "agrees", "agrees"),
        ("CC0-1.0", "CC-BY-4.0", "refused", "refused"),
        ("CC-BY-SA-4.0", "CC-BY-SA-3.0", "agrees", "agrees"),
        ("MIT", "CC-BY-SA-4.0", "to be decided", "refused"),
        ("MIT", "GPL-3.0-or-later", "to be decided", "refused"),
        ("EUPL-1.2", "EUPL-1.2", "agrees", "agrees"),
        ("Apache-2.0", "LicenseRef-mine", "to be decided", "refused"),
        ("Apache-2.0", "CC-BY-NC-4.0", "refused", "refused"),
        ("Apache-2.0", "CC-BY-NC-4.0 OR MIT", "agrees", "agrees"),  # one may choose
        ("Apache-2.0", "MIT AND (CC-BY-SA-4.0 OR GPL-3.0-only)", "to be decided", "refused"),
        ("Apache-2.0", "MIT AND CC-BY-ND-4.0", "refused", "refused"),
        ("Apache-2.0", "bigscience-bloom-rail-1.0", "refused", "refused"),
        ("Apache-2.0", "llama3.1", "refused", "refused"),
        ("Apache-2.0", UNKNOWN, "refused", "refused"),
    ],
)
def test_agreement(weights: str, licence: str, text: str, base: str) -> None:
    """A base's terms bind; of a text's, what no court has settled is for people; both refuse what is not open."""
    assert (agreement(weights, licence, "text").outcome, agreement(weights, licence, "base").outcome) == (text, base)


def test_caveats_count_as_the_licence() -> None:
    """A source that is known to hold share-alike text is not free because its licence does not say so."""
    found = agreement("Apache-2.0", "etalab-2.0", "text", ("share-alike",))
    assert found.outcome == "to be decided"
    assert "share" in found.why
    assert agreement("Apache-2.0", "etalab-2.0", "text", ("non-commercial",)).outcome == "refused"


def test_texts_ship_whole() -> None:
    """Every licence of weights is SPDX's, and its text has no line left to fill in."""
    assert {"Apache-2.0", "MIT", "CC-BY-4.0", "etalab-2.0", "OpenMDW-1.0", "BSD-3-Clause"} <= set(WEIGHTS)
    for licence in WEIGHTS:
        assert spdx_problem(licence) is None
        text = licence_text(licence, "Copyright (c) 2026 Quelqu'un")
        assert len(text) > 1000
        assert "<year>" not in text
    assert "Copyright (c) 2026 Quelqu'un\n" in licence_text("MIT", "Copyright (c) 2026 Quelqu'un")
    with pytest.raises(UserError, match="not a licence that weights"):
        check_weights_licence("GPL-3.0-only", "release.yaml:3")


def test_spdx_expressions() -> None:
    """One's own references pass, misspelt identifiers and no licence at all do not."""
    assert spdx_problem("LicenseRef-public-domain AND OpenMDW-1.0") is None
    assert "Etalab" in str(spdx_problem("Etalab 2"))
    assert spdx_problem("MIT AND AND") is not None
    assert spdx_problem(" ") is not None


def test_what_the_table_names_is_spdx() -> None:
    """A misspelt name in the table would judge nothing. OpenMDW is newer than the library's list."""
    unknown = spdx_list().unknown_license_keys(" AND ".join(sorted(KNOWN)))
    assert sorted(unknown) == ["LicenseRef-public-domain", "OpenMDW-1.0"]


def test_the_guide_has_the_table() -> None:
    """docs/licences.md names every licence that is judged, and those of weights."""
    guide = (Path(__file__).parents[3] / "docs/licences.md").read_text()
    assert [licence for licence in sorted(KNOWN | set(WEIGHTS)) if licence not in guide] == []


def test_the_launch_corpus_agrees() -> None:
    """The corpus of the launch recipes has nothing that is refused, and what people must decide is share-alike text."""
    found = {name: agreement("Apache-2.0", source.licence, "text", source.caveats)
             for name, source in read_corpus("french").sources.items()}  # fmt: skip
    assert {one.outcome for one in found.values()} == {"agrees", "to be decided"}
    assert all("share" in one.why for one in found.values() if one.outcome == "to be decided")
