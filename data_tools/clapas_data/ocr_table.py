"""Make the table that the step `ocr` ships with, from a corpus of sound text.

python -m clapas_data.ocr_table demo
"""

from __future__ import annotations

import sys
from pathlib import Path

from clapas_data.corpus import read_corpus
from clapas_data.prepare import prepare
from clapas_data.steps import ocr
from clapas_data.text.trigrams import packed, rare_trigrams
from clapas_data.workers import Workers

if __name__ == "__main__":
    with Workers(1) as workers:
        texts = prepare(read_corpus(sys.argv[1]), workers).texts("train")
        Path(ocr.__file__).with_name(ocr.TABLE).write_bytes(packed(rare_trigrams(texts)))
