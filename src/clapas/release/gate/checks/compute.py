"""Check 16: computing, counted by two methods that agree, and the AI Act's three thresholds in the documents.

The first count is the ledger's. The second takes the matrices out of the exported files themselves, and the tokens and
lengths of the run: whoever errs in one does not err in the other. Then the form's table is read back: each amount that
it states is compared with its threshold here, whatever wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from clapas.release.ai_act import GENERAL_PURPOSE, SYSTEMIC_RISK, Verdicts, verdicts
from clapas.release.documents.compute_text import duties
from clapas.release.documents.model_form.form import NAME
from clapas.release.documents.training_content.page import plain_spaces
from clapas.release.documents.words import LANGUAGES, Language, either, typeset
from clapas.release.gate.check import Check, Draft, Verdict, judged
from clapas.release.gate.reading import EMBEDDING, HEAD, Stored, Unreadable, read_header, read_text, weight_files
from clapas.release.gate.stated import ROUNDING, read_powers
from clapas.release.training_compute import TOLERANCE, Recount, recount, work_of


def check_compute(draft: Draft) -> Verdict:
    """The counts, then what the documents say of them."""
    evidence, compute = draft.evidence, draft.evidence.compute
    multiplying = _multiplying(draft)
    again = recount(evidence, multiplying)
    problems = list(_counts(draft, again, multiplying))
    found = verdicts(evidence, draft.answers)
    for language in LANGUAGES:
        problems += _stated(draft, language, found)
    return judged(
        problems,
        f"{compute.flops:.3g} FLOP by the ledger, {_between(again)} by the architecture; {found.total:.3g} in all, "
        f"{'over' if found.general_purpose else 'under'} 1e23, {'over' if found.systemic_risk else 'under'} 1e25; "
        f"{_modification(found)}; duties: {', '.join(found.duties) or 'none'}",
    )


def _counts(draft: Draft, again: Recount, multiplying: float) -> Iterator[str]:
    evidence, compute = draft.evidence, draft.evidence.compute
    if evidence.tokens_computed < evidence.own_data.tokens_read:
        yield f"{evidence.tokens_computed:,} tokens were computed, and {evidence.own_data.tokens_read:,} read"
    if not again.agrees(compute.flops):
        yield (
            f"the ledger has {compute.flops:.3g} FLOP, the architecture gives {_between(again)}: they differ by more "
            f"than {TOLERANCE:.0%}"
        )
    simple = 6 * multiplying * evidence.tokens_computed
    if abs(compute.flops_by_parameters - simple) > TOLERANCE * simple:
        yield f"6 x parameters x tokens is said to be {compute.flops_by_parameters:.3g}; the weights give {simple:.3g}"
    teachers = {base.folder for base in evidence.bases if base.role == "teacher"}
    for name in teachers & set(work_of(evidence, draft.answers).unknown):
        yield f"release.yaml: base_models.{name}.parameters: nobody says how large the teacher is, whose passes count"


def _multiplying(draft: Draft) -> float:
    """The numbers in the exported matrices that multiply for one token: all but what is looked up and idle experts.

    Where the files cannot be read, which check 2 tells, the evidence's own.
    """
    stored: dict[str, Stored] = {}
    for name in weight_files(draft.folder):
        header = read_header(draft.folder, name)
        if isinstance(header, Unreadable):
            return draft.evidence.active_parameters
        stored |= header[0]
    if not stored:
        return draft.evidence.active_parameters
    model = draft.evidence.model
    active = model["num_experts_per_tok"] / model["num_experts"] if model.get("num_experts") else 1.0
    return sum(
        tensor.elements * (active if re.search(r"\.experts\.", name) else 1.0)
        for name, tensor in stored.items()
        if name != EMBEDDING or HEAD not in stored
    )


def _stated(draft: Draft, language: Language, found: Verdicts) -> Iterator[str]:
    """What is wrong with the thresholds of a form."""
    name = NAME.format(language=language)
    page = read_text(draft.folder, name)
    if isinstance(page, Unreadable):
        yield str(page)
        return
    lines = [line for line in page.splitlines() if line.startswith("|")]
    for label, threshold in (
        (either(language, "usage général", "general purpose"), GENERAL_PURPOSE),
        (either(language, "risque systémique", "systemic risk"), SYSTEMIC_RISK),
    ):
        rows = [line for line in lines if plain_spaces(line).startswith(f"| {label}")]
        if not rows:
            yield f"{name} does not say whether {threshold:.0e} FLOP are passed"
        for row in rows:
            yield from _row(f"{name}: {label}", row, threshold, found.total, language)
    third = either(language, "un tiers du calcul", "a third of the original")
    rows = [line for line in lines if plain_spaces(line).startswith(f"| {third}")]
    if len(rows) != max(1, len(found.modified)):
        yield f"{name} does not say whether a third of each original model's compute is passed"
    for row, base in zip(rows, found.modified, strict=False):
        yield from _row(f"{name}: {third}", row, base.threshold, found.own, language)
    said = duties(found, language)
    if plain_spaces(typeset(said) if language == "fr" else said) not in plain_spaces(page):
        yield f"{name} does not say which duties follow"


def _row(where: str, row: str, threshold: float, counted: float, language: Language) -> Iterator[str]:
    """A row of the table: threshold, amount and verdict, each as it stands there."""
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    amounts = [read_powers(cell, language) for cell in cells]
    if len(cells) != 4 or not amounts[1] or not amounts[2]:
        yield f"{where}: no threshold, amount and verdict there: {row}"
        return
    if abs(amounts[1][0] / threshold - 1) > ROUNDING:
        yield f"{where}: found the threshold {amounts[1][0]:.3g}, wanted {threshold:.3g}"
    if abs(amounts[2][0] / counted - 1) > ROUNDING:
        yield f"{where}: found {amounts[2][0]:.3g} FLOP, wanted {counted:.3g}"
    is_said = cells[3].startswith(either(language, "oui", "yes"))
    if is_said != (amounts[2][0] > amounts[1][0]):
        yield f"{where}: {amounts[2][0]:.3g} of {amounts[1][0]:.3g} FLOP is said to be {cells[3]!r}"


def _between(again: Recount) -> str:
    return f"{again.most:.3g}" if again.least == again.most else f"{again.least:.3g} to {again.most:.3g}"


def _modification(found: Verdicts) -> str:
    if found.becomes_provider is None:
        return "no model of another provider modified"
    return f"{'over' if found.becomes_provider else 'under'} a third of the original model's compute"


CHECK = Check(16, "compute", "FLOPs by two methods, and the thresholds of the AI Act", check_compute)
