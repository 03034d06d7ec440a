"""A recipe against its data, and against what training refuses and the site's nodes can do.

What needs numpy and pydantic is imported where there is a recipe: without one the doctor answers in 0.1 s.
"""

from __future__ import annotations

from collections.abc import Iterator

from clapas.launch.doctor.finding import Case, Finding
from clapas.recipe.errors import UserError


def data(case: Case) -> Iterator[Finding]:
    """The manifest, and size and header of every shard; content is `clapas data verify`'s."""
    if case.recipe is None:
        return
    from clapas_data.manifest import open_manifest

    try:
        manifest = open_manifest(case.folder / case.recipe.data.path)
    except UserError as error:
        yield of_error("data", error, "training would be refused")
        return
    except OSError as error:
        where = error.filename or case.recipe.data.path
        yield Finding("data", "failure", f"{where}: {error.strerror}", "ranks read it", f"ls -l {where}")
        return
    tokens = sum(shard.tokens for shard in manifest.shards)
    yield Finding("data", "ok", f"{len(manifest.shards):,} shards, {tokens:,} tokens: sizes and headers as recorded")


def ranks(case: Case) -> Iterator[Finding]:
    """What training itself would refuse, on the ranks that the site's nodes give."""
    if case.recipe is None:
        return
    from clapas.engine.deepspeed_config import deepspeed_config
    from clapas.train.preflight import preflight
    from clapas_data.manifest import open_manifest

    size = case.nodes * (case.partition.gpus_per_node if case.partition else 1)
    at_home = case.recipe.model_copy(
        update={"data": case.recipe.data.model_copy(update={"path": case.folder / case.recipe.data.path})}
    )
    fits = f"{case.recipe.name} on {size} rank{'s' * (size > 1)}"
    try:
        deepspeed_config(at_home, size)
        try:
            open_manifest(at_home.data.path)
        except (UserError, OSError):
            yield Finding("recipe", "ok", f"{fits}, but for its data")  # `data` tells
            return
        preflight(at_home, size)
    except UserError as error:
        yield of_error("recipe", error, f"training on {size} ranks would be refused")
    except OSError:
        return  # `data` tells
    else:
        yield Finding("recipe", "ok", fits)


def precision(case: Case) -> Iterator[Finding]:
    """A precision that the site's device has no arithmetic for."""
    if case.recipe is None or case.partition is None or case.partition.device.startswith("CPU"):
        return
    from clapas.plan.hardware import read_hardware

    name, wanted = case.partition.device, case.recipe.precision
    device = next((known for known in read_hardware() if known.name == name), None)
    if device is None:
        yield Finding("precision", "skipped", f"{name} is not in slurm/hardware.yaml")
    elif device.peak_flops(wanted) is None:
        why = f"{name} has no {wanted}: torch computes it by way of fp32, many times slower, or fails"
        mend = "precision=fp16" if wanted == "bf16" else "precision=bf16, or another partition"
        yield Finding("precision", "failure", f"{wanted} on {name}", why, mend)
    else:
        yield Finding("precision", "ok", f"{wanted} on {name}")


def directories(case: Case) -> Iterator[Finding]:
    """The variables by which the site names its file systems: absent, this is not that site."""
    if case.site is None:
        return
    named = [getattr(case.site.directories, name) for name in ("scratch", "work", "store", "datasets")]
    missing = [d.variable for d in named if d is not None and d.variable not in case.environment]
    if missing:
        found = ", ".join(f"${name}" for name in missing)
        why = f"{case.site.title} sets {'them' if len(missing) > 1 else 'it'}: paths in the recipe would be empty there"
        yield Finding("site", "warning", f"not set here: {found}", why, f"run this on {case.site.name}")
    else:
        yield Finding("site", "ok", case.site.title)


def of_error(check: str, error: UserError, why: str) -> Finding:
    """A user's mistake as a failure."""
    where = f"{error.where}: " if error.where else ""
    found = f"; found {error.found}" if error.found is not None else ""
    wanted = f"; wanted {error.wanted}" if error.wanted else ""
    mend = error.way_out or "see what is wanted"
    return Finding(check, "failure", f"{where}{error.what}{found}{wanted}", why, mend)
