"""Whether completions are French, by the models that sort documents (`clapas_data.steps.language`)."""

from __future__ import annotations

from collections.abc import Sequence

from clapas_data.steps.language import probability_of


def french_rewards(completions: Sequence[str]) -> list[float]:
    """The probability of French of each completion; 0 for one without a letter, which is in no language.

    Raises UserError where the models are not installed (extra `data`).
    """
    lettered = [place for place, text in enumerate(completions) if any(map(str.isalpha, text))]
    found = [0.0] * len(completions)
    for place, probability in zip(lettered, probability_of([completions[i] for i in lettered], ("fr",)), strict=True):
        found[place] = probability
    return found
