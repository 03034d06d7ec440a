"""The French tasks of `lm-eval`, by its own names, and the short names that stand for several.

folder: where it lies below the harness's own `tasks/`: reading all 14,000 files of it takes eight seconds.
"""

from __future__ import annotations

FRENCH = {
    "french_bench": "french_bench",
    "belebele_fra_Latn": "belebele",
    "xnli_fr": "xnli",
    "xwinograd_fr": "xwinograd",
    "paws_fr": "paws-x",
    "arc_fr": "okapi/arc_multilingual",
    "hellaswag_fr": "okapi/hellaswag_multilingual",
    "m_mmlu_fr": "okapi/mmlu_multilingual",
    "truthfulqa_fr_mc1": "okapi/truthfulqa_multilingual",
    "truthfulqa_fr_mc2": "okapi/truthfulqa_multilingual",
    "global_mmlu_fr": "global_mmlu/default/fr",
    "include_base_44_french": "include/default/French",
    "multiblimp_fra": "multiblimp",
    "mgsm_native_cot_fr": "mgsm/native_cot",
    "crows_pairs_french": "crows_pairs",
}
"""Task, group or tag -> its folder."""

ALIASES: dict[str, tuple[str, ...]] = {
    "french": tuple(FRENCH),
    "frenchbench": ("french_bench",),
    "mmlu_fr": ("m_mmlu_fr",),
    "belebele_fr": ("belebele_fra_Latn",),
}
"""A name that we take -> the harness's own."""
