"""Each reward, their sum, and what is said where one fails."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from clapas.recipe.errors import UserError
from clapas.tune.grpo.config import Grpo
from clapas.tune.grpo.rewards.build import Rewards
from clapas.tune.grpo.rewards.reward import Group


def rewards(*configs: dict[str, Any], **options: Any) -> Rewards:
    """Those of a recipe."""
    return Rewards.of(Grpo.model_validate({"name": "grpo", "rewards": list(configs), **options}), "objective.rewards")


def group(*completions: str, **columns: Any) -> Group:
    """Completions whose tokens are their characters."""
    return Group("exercice-7", "Combien ?", completions, [list(map(ord, text)) for text in completions], columns)


def test_the_total_is_the_weighted_sum() -> None:
    """In the recipe's order, each by its weight."""
    both = rewards({"name": "math", "weight": 2.0}, {"name": "format", "pattern": r"\d+", "weight": 0.5})
    found = both(group("42", "Quarante-deux, soit 42", "43", answer="42"))
    assert found == {"math": [1.0, 1.0, 0.0], "format": [1.0, 0.0, 1.0]}
    assert both.total(found) == [2.5, 2.0, 0.5]


def test_the_format_is_of_the_whole_completion() -> None:
    """Thought, then answer, over several lines; nothing before, between or after."""
    asked = rewards({"name": "format"})
    found = asked(
        group(
            " <pense>a\nb</pense>\n<réponse>c</réponse>\n",
            "<pense>a</pense><réponse>b</réponse> voilà",
            "<réponse>b</réponse>",
            "<pense></pense><réponse>b</réponse>",
        )
    )
    assert found["format"] == [1.0, 0.0, 0.0, 0.0]


def test_long_completions_lose_along_a_line() -> None:
    """Nothing until the margin, all at the most, by default a fifth of max_new_tokens."""
    found = rewards({"name": "length"}, max_new_tokens=10)(group("a" * 7, "a" * 8, "a" * 9, "a" * 10, "a" * 12))
    assert found["length"] == [0.0, 0.0, -0.5, -1.0, -1.0]


def test_french_is_told_from_english_and_from_no_language() -> None:
    """The models that sort documents; what has no letter is in no language."""
    french, english, digits = rewards({"name": "french"})(
        group("Je pense que la réponse est douze.", "I think that the answer is twelve.", "12")
    )["french"]
    assert french > 0.9
    assert english < 0.1
    assert digits == 0.0


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's, in the working directory."""
    (tmp_path / "mes_mesures.py").write_text(
        "def courte(prompts, completions, completion_ids, answer):\n"
        "    rows = zip(prompts, completions, completion_ids, answer, strict=True)\n"
        "    return [len(prompt) - len(text) for prompt, text, _, _ in rows]\n"
        "def fausse(**_): raise KeyError('solution')\n"
        "def une(**_): return [1.0]\n"
        "def rien(completions, **_): return [None] * len(completions)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mes_mesures", raising=False)
    return "mes_mesures"


def test_a_function_of_ones_own_is_called_as_trl_calls_it(own_module: str) -> None:
    """Lists of prompts, completions, ids and columns; its column has its name."""
    own = rewards({"name": "function", "function": f"{own_module}:courte"})
    assert own(group("123", "1", answer="x")) == {"courte": [6.0, 8.0]}


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("fausse", "KeyError: 'solution'"),
        ("une", "a number for each completion"),
        ("rien", "no number"),
    ],
)
def test_what_a_function_does_wrong_names_it_and_the_prompt(own_module: str, function: str, said: str) -> None:
    """A run of days should not end without a word on where."""
    own = rewards({"name": "function", "function": f"{own_module}:{function}"})
    with pytest.raises(UserError, match=said) as error:
        own(group("123", "1"))
    assert f"reward {function}, prompt exercice-7" in str(error.value)


@pytest.mark.parametrize(
    ("function", "said"),
    [("mes_mesures:absente", "one of courte"), ("pas_de_module:f", "ModuleNotFoundError")],
)
def test_a_function_that_is_not_there_is_refused_at_once(own_module: str, function: str, said: str) -> None:
    """Before anything is trained."""
    assert own_module
    with pytest.raises(UserError, match=said):
        rewards({"name": "function", "function": function})


def test_a_prompt_without_an_answer_is_named() -> None:
    """With the columns that there are."""
    with pytest.raises(UserError, match="no value of the column answer; the columns: solution") as error:
        rewards({"name": "math"})(group("42", solution="42"))
    assert "exercice-7" in str(error.value)
