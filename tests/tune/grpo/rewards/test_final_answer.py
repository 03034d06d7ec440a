"""What of a completion is its answer, and when it is right."""

from __future__ import annotations

from typing import Any

import pytest

from clapas.tune.grpo.rewards.final_answer import final_answer, is_right


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("<pense>12 + 30 font 42</pense>\n<réponse>42</réponse>", 42),
        ("<réponse>40</réponse> non : <réponse>42</réponse>", "42"),
        ("<réponse>La somme est de 1\u202f234,5 €.</réponse>", "1234.5"),
        ("Donc $\\boxed{\\frac{2}{3}}$.", "2/3"),
        ("Donc \\boxed{1{,}5} puis \\boxed{\\text{environ } 2}", 2),
        ("<answer>\\boxed{7}</answer>", 7.0),
        ("12 + 30 = 42\n#### 42", "12 + 30 = <<12+30=42>>42\n#### 42"),
        ("La réponse est : 42 pommes.", "42"),
        ("Réponse finale : 3,5", 3.5),
        ("On a 12 + 30 = 42.", "42"),
        ("Cela fait 0,5.", "1/2"),
        ("Cela fait 50 %.", "0,5"),
        ("\\boxed{x^2 + 1}", "x^2+1"),
        ("<réponse>Paris</réponse>", "paris"),
    ],
)
def test_right(completion: str, answer: Any) -> None:
    """In tags, in a box, after ####, after « réponse : », or the last number; numbers are compared exactly."""
    assert is_right(completion, answer)


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("", 42),
        ("<pense>42", 42),  # it never answered
        ("<pense>42</pense>", 42),
        ("42 est faux, c'est 43", 42),
        ("12 + 30", 42),  # the question again
        ("Le quotient est 84/7", 12),
        ("<réponse></réponse> 42", 42),
        ("\\boxed{42", 41),
        ("420", 42),
        ("-42", 42),
        ("4,2", 42),
        ("<réponse>Lyon</réponse>", "Paris"),
        ("42", True),
    ],
)
def test_wrong(completion: str, answer: Any) -> None:
    """Thoughts, other numbers, and sums that were not computed are no right answer."""
    assert not is_right(completion, answer)


def test_an_answer_in_tags_comes_before_what_follows() -> None:
    """Numbers after the answer do not count."""
    assert final_answer("<réponse>42</réponse> (en 3 lignes)") == "42"
