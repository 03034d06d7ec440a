"""Check 13: each GGUF file holds this model, read back: dimensions, tokenizer, licence, and every number of it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from clapas.recipe.errors import UserError
from clapas.release.gate.check import Check, Draft, Verdict, judged, not_run
from clapas.release.gguf.about import about_release
from clapas.release.gguf.compare import differences
from clapas.release.gguf.quantisations import QUANTISATIONS
from clapas.release.gguf.write import contents_of, file_of
from clapas.release.layout import GGUF


def _gguf(draft: Draft) -> Verdict:
    about = about_release(draft.evidence, draft.answers)
    problems = list(_surplus(draft, about.stem))
    if not draft.gguf:
        return judged(problems, "") if problems else not_run("no GGUF was asked for")
    if find_spec("gguf") is None:
        return not_run("gguf is not installed, without which no GGUF is read (pip install 'clapas[release]')")
    for name in draft.gguf:
        file = file_of(draft.folder, about.stem, name)
        if name not in QUANTISATIONS:
            problems.append(f"gguf/{file.name}: {name} is none of {', '.join(QUANTISATIONS)}, which a release may hold")
            continue
        if not file.is_file():
            problems.append(f"gguf/{file.name} is missing")
            continue
        try:
            contents = contents_of(draft.folder, QUANTISATIONS[name], about)
            problems += differences(file, draft.folder, contents)
        except (UserError, OSError, KeyError, TypeError, ValueError) as error:  # of the folder, which others judge
            why = error.what if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            return not_run(f"there is nothing sound to compare with: {why}")
    return judged(problems, f"{', '.join(draft.gguf)}: every key, token and number as in the folder")


def _surplus(draft: Draft, stem: str) -> Iterator[str]:
    """Files that nobody asked for: of another model, perhaps, and compared with nothing."""
    wanted = {file_of(draft.folder, stem, name) for name in draft.gguf}
    there = sorted((draft.folder / GGUF).glob("*"))
    yield from (f"gguf/{file.name}: nobody asked for it" for file in there if file not in wanted)


CHECK = Check(
    number=13,
    name="gguf",
    what="each GGUF file, read back, holds this model: dimensions, tokenizer, licence, every number",
    function=_gguf,
    mandatory=lambda draft: bool(draft.gguf),
)
