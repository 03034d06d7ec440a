"""What people answer in `release.yaml`: each slip is told where it stands, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas.recipe.errors import UserError
from clapas.release.answers import read_answers

EXAMPLE = Path(__file__).parents[2] / "examples" / "release.yaml"


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ('on_market: "2026-11-28"', "on_market: 28/11/2026", "must be a day, such as 2026-11-28"),
        ('on_market: "2026-11-28"', 'on_market: "2026-13-01"', "not in the calendar"),
        ('on_market: "2026-11-28"', 'on_market: ""', "model.on_market: blank; wanted: a day"),
        ('["2026-03", "2026-03"]', '["2026-05", "2026-03"]', "the first month must not come after the last"),
        ('["2026-03", "2026-03"]', '["2026-13", "2026-14"]', "acquired[0]: found '2026-13'; not in the calendar"),
        ("country: FR", "country: France", "two capitals"),
        ("repository: clapas/clapas-demo", "repository: clapas-demo", "must be OWNER/NAME"),
        ('version: "1.0.0"', "version: 1.0", "must be text: write it in quotes"),
        ("small: true", "small: oui", "must be true or false"),
        ("small: true", "small:", "provider.small: blank; wanted: true or false"),
        ("kind: public", "kind:", "kind: blank; wanted: one of 'public'"),
        ("email: contact@clapas.example", "email: contact", "must be an address of mail"),
        ("takedown: retrait@clapas.example", "takedown: N/A", "must be an address of mail, or of a page"),
        ("website: https://clapas.example", "website: clapas.example", "begins with https://"),
        ("    fr: La machine qui a lancé la démonstration", '    fr: "-"', "still open"),
        (
            "power_usage_effectiveness_source: null",
            "power_usage_effectiveness_source: le site",
            "found 'le site'; must be in both languages",
        ),
        ("  characteristics: null", "  characteristics: ''", "blank; must be in both languages"),
        ("concluded: false", "concluded: true", "licensed.description: blank; wanted: what these data are"),
        ("power_usage_effectiveness: null", "power_usage_effectiveness: 1.2", "wanted: where the figure is from"),
    ],
)
def test_a_slip_is_told_in_words(tmp_path: Path, good: str, bad: str, said: str) -> None:
    """The line, what stands there, and what it should be; no pattern, no Python."""
    text = EXAMPLE.read_text(encoding="utf-8")
    assert good in text
    path = tmp_path / "release.yaml"
    path.write_text(text.replace(good, bad, 1), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_answers(path)
    told = str(caught.value)
    assert f"{path}:" in told
    assert said in told
    assert "None" not in told
    assert "pattern" not in told


def test_no_file_is_told_with_the_way_to_one(tmp_path: Path) -> None:
    """Not with the way to a recipe."""
    with pytest.raises(UserError, match="--template"):
        read_answers(tmp_path / "release.yaml")
