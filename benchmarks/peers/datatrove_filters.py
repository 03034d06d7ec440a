"""datatrove's filter chain on a folder of JSONL, as its own FineWeb-2 script sets it up for French.

    python datatrove_filters.py SOURCE OUT TASKS MODEL.ftz

Thresholds as in FineWeb-2's fra_Latn.yml, quoted in the issue. MODEL: lid.176.ftz, for its LanguageFilter
would download one.
"""

import sys

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters import (
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
)
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.lid import FastTextLID

STOP_WORDS = ["de", "la", "et", "le", "à", "les", "des", "en", "du", "un", "une", "que", "est", "pour", "dans", "par"]
LANGUAGE = "fra"


class LocalLID(FastTextLID):
    """The model from a file that is here."""

    MODEL_SUBFOLDER = "local"

    def __init__(self, path: str) -> None:
        super().__init__(None, 1)
        self.path = path

    @property
    def model(self):
        if self._model is None:
            from fasttext.FastText import _FastText

            self._model = _FastText(self.path)
        return self._model


def main() -> None:
    source, out, tasks, model = sys.argv[1:5]
    language = LanguageFilter(languages=["fr"], language_threshold=0.65, backend="ft176")
    language.model = LocalLID(model)
    LocalPipelineExecutor(
        pipeline=[
            JsonlReader(source, glob_pattern="*.jsonl"),
            language,
            GopherRepetitionFilter(
                dup_line_frac=0.264, dup_para_frac=0, dup_line_char_frac=0, dup_para_char_frac=0,
                top_n_grams=((2, 0.161), (3, 0.149), (4, 0.134)),
                dup_n_grams=((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1)),
                language=LANGUAGE,
            ),
            FineWebQualityFilter(line_punct_thr=0.1, new_line_ratio=0.185, short_line_thr=999, language=LANGUAGE),
            GopherQualityFilter(
                min_avg_word_length=2, max_avg_word_length=11, max_non_alpha_words_ratio=0.812,
                stop_words=STOP_WORDS, language=LANGUAGE,
            ),
            PIIFormatter(),
            JsonlWriter(out + "/kept", compression=None),
        ],
        tasks=int(tasks), workers=int(tasks), logging_dir=out + "/logs",
    ).run()  # fmt: skip


if __name__ == "__main__":
    main()
