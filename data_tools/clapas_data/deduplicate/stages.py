"""The stages of deduplication, in their order: exact, near, lines, and what is left of it all.

Work across documents goes by shelves: a task of one stage writes its keys in order, cut into slices; a task of the next
reads its slice of every file. So each holds a bounded part of the corpus, whatever its size, and no two wait for each
other. What grows with the corpus: 5 bytes a document in the join stages, and 100 a verified pair.
"""

from __future__ import annotations

from pathlib import Path

from clapas_data.corpus import Corpus
from clapas_data.deduplicate.exact import ExactJoin, ExactKeys, ExactMatch
from clapas_data.deduplicate.finish import Finish
from clapas_data.deduplicate.join import NearJoin
from clapas_data.deduplicate.lines import LineCodes, LineJoin, LineKeys, LineMatch, LineMeasure
from clapas_data.deduplicate.near import NearKeys, NearMatch
from clapas_data.deduplicate.plan import Plan
from clapas_data.deduplicate.verify import NearShingles, NearVerify
from clapas_data.stages import Stage

EXACT = (ExactKeys, ExactMatch, ExactJoin)
NEAR = (NearKeys, NearMatch, NearShingles, NearVerify, NearJoin)
LINES = (LineKeys, LineMatch, LineJoin, LineMeasure, LineCodes)


def planned_stages(folder: Path, corpus: Corpus) -> list[Stage]:
    """The stages that a corpus asks for, in a work folder where the plan is not yet."""
    return stages_of(Plan.of(corpus, folder, ()))


def stages_of(plan: Plan) -> list[Stage]:
    """The stages that a plan asks for. Their tasks read the plan in its folder, where it must have been written."""
    kinds = (*EXACT, *(NEAR if plan.near else ()), *(LINES if plan.lines else ()), Finish)
    return [kind(plan.folder) for kind in kinds]
