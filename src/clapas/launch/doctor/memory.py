"""Whether the recipe as written fits the site's devices, as `clapas plan` foretells it, and which layout would."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clapas.launch.doctor.finding import Case, Finding
from clapas.launch.doctor.recipe_fit import of_error
from clapas.recipe.errors import UserError


def memory(case: Case) -> Iterator[Finding]:
    """A layout that needs more than a device has fails; one that needs nearly all of it is warned of."""
    if case.recipe is None or case.site_name is None:
        return
    from clapas.plan.plan import NoLayoutError, plan

    try:
        planned = plan(case.recipe, case.site_name, case.nodes, partition=case.partition_name)
    except NoLayoutError as error:
        yield of_error("memory", error, "ranks would run out of memory, or training be refused")
    except UserError as error:  # the precision, or a device that no sheet has: another check tells
        yield Finding("memory", "skipped", f"not planned: {error.what}")
    else:
        yield finding(planned)


def finding(planned: dict[str, Any]) -> Finding:
    """A plan as a finding."""
    written, best = planned["as_written"], planned["layouts"][0]
    mend = f"{' '.join(best['overrides'])} (`clapas plan`)"
    if "memory_bytes" not in written:
        why = "training would be refused so"
        return Finding("memory", "failure", f"as written it does not run: {written['problem']}", why, mend)
    need, have = written["memory_bytes"], written["memory_available_bytes"]
    if written["problem"] is None:
        return Finding("memory", "ok", f"{need / 1e9:,.1f} of {have / 1e9:,.0f} GB of {planned['device']}")
    found = f"as written it does not fit: {written['problem']}"
    if need > have or written["host_bytes"]:
        return Finding("memory", "failure", found, "ranks would run out of memory", mend)
    return Finding("memory", "warning", found, "nearly full: a step may run out of memory, or be slow", mend)
