"""Text whose encoding was mistaken on its way: « Ã©tÃ© » is « été » again. By `ftfy`, asked only where it looks so.

Nothing that a French reader wrote is changed: curly quotes, ligatures, no-break and full-width characters stay.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal

from clapas_data.optional import needs
from clapas_data.steps.step import Outcome, Step
from clapas_data.text.batch import TextBatch

if TYPE_CHECKING:
    from ftfy import TextFixerConfig

_SUSPECT = re.compile(
    "[\u00c2-\u00c5\u00c8-\u00cb\u00cd-\u00d3\u00d7-\u00da\u00e2\u00ef][\u0080-\u00bf\u0152-\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]|�"
)
"""A lead byte of UTF-8 beside a byte that may follow it, both read as Latin-1 or Windows-1252; or U+FFFD."""


class Repair(Step):
    """Mend mojibake. A document of which more than `replaced` of the characters are U+FFFD is dropped: text is lost."""

    edits: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ("ftfy",)

    step: Literal["repair"] = "repair"
    replaced: float = 0.001

    def __call__(self, batch: TextBatch) -> Outcome:
        """Texts mended; `replacement_characters` where too much is lost."""
        suspects = [place for place, text in enumerate(batch.texts) if _SUSPECT.search(text)]
        if not suspects:
            return Outcome()
        texts = list(batch.texts)
        for place in suspects:
            texts[place] = _fix(texts[place])
        lost = batch.total(batch.codes == 0xFFFD) / (batch.characters + 1)
        return Outcome(
            texts=texts,
            rejected={"replacement_characters": lost > self.replaced},
            values={"replacement_characters": lost},
        )


def _fix(text: str) -> str:
    with needs("ftfy", "the step `repair`"):
        import ftfy
    return ftfy.fix_text(text, _config())


@lru_cache(maxsize=1)
def _config() -> TextFixerConfig:
    from ftfy import TextFixerConfig

    return TextFixerConfig(
        unescape_html=False,
        uncurl_quotes=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        fix_line_breaks=False,
        remove_terminal_escapes=False,
        remove_control_chars=False,
        normalization=None,
    )
