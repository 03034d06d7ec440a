"""Whether what a run writes has room: bytes, inodes and quotas, and whether it is still there when the run ends."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clapas.launch.doctor.ask import ask
from clapas.launch.doctor.duration import Duration, duration_of
from clapas.launch.doctor.finding import Case, Finding, existing

if TYPE_CHECKING:
    from clapas.plan.site import Directory

MIN_FREE_GB = 5.0
MIN_FREE_INODES = 10_000
"""A run of 512 ranks writes some 520 files a checkpoint."""
NEARLY_FULL = 0.95
HOURS_A_DAY = 24
MOUNTS = Path("/proc/self/mountinfo")


def room(case: Case) -> Iterator[Finding]:
    """Whether the run's folder can be written, and holds the checkpoints that the recipe keeps."""
    folder = existing(case.run_folder)
    if not os.access(folder, os.W_OK):
        why = "checkpoints and the ledger are written there"
        mend = "run_dir=… in a folder of yours" if case.recipe else "cd to a folder of yours"
        yield Finding("run folder", "failure", f"{folder} is not writable", why, mend)
        return
    found = os.statvfs(folder)
    yield free_bytes(case, folder, found.f_bavail * found.f_frsize)
    if not found.f_files:
        yield Finding("inodes", "skipped", f"the file system of {folder} makes them as needed, or does not count them")
    elif found.f_favail < MIN_FREE_INODES:
        why = "every checkpoint has a file a rank and more: without inodes a disk with room is full"
        yield Finding("inodes", "warning", f"{found.f_favail:,} left in {folder}", why, f"df -i {folder}; remove files")
    else:
        yield Finding("inodes", "ok", f"{found.f_favail:,} left in {folder}")


def free_bytes(case: Case, folder: Path, free: float) -> Finding:
    """Free bytes against the checkpoints that the run has at the most, as `clapas plan` counts them."""
    told = f"{free / 1e9:.1f} GB in {folder}"
    if case.recipe is None:
        if free >= MIN_FREE_GB * 1e9:
            return Finding("free disk", "ok", told)
        return Finding("free disk", "warning", told, "checkpoints take 12 bytes a parameter each", "df -h .")
    from clapas.plan.cost import state_bytes, states_on_disk
    from clapas.plan.setup import moments_of

    checkpoint = case.recipe.checkpoint
    each = state_bytes(case.recipe.trained_parameters, moments_of(case.recipe))
    states = states_on_disk(checkpoint, case.recipe.total_steps)
    wanted = f"{states} checkpoint{'s' * (states > 1)} of {each / 1e9:.1f} GB: those kept, and the one that is written"
    mend = "run_dir=… on a larger file system, or checkpoint.keep=1"
    if checkpoint.keep_every:
        mend += ", or a larger checkpoint.keep_every"
    if free < min(states, 2) * each:
        few = "two checkpoints fit" if states > 1 else "one checkpoint fits"
        return Finding("free disk", "failure", told, f"not even {few}; wanted: {wanted}", mend)
    if free < states * each:
        return Finding("free disk", "warning", told, f"not enough for {wanted}", mend)
    return Finding("free disk", "ok", f"{told}; the run writes {wanted}")


def quota(case: Case) -> Iterator[Finding]:
    """The user's and group's quota where the file system tells one: Lustre by `lfs`, others by `quota`."""
    folder = existing(case.run_folder).resolve()
    kind, device, point = file_system(folder, MOUNTS.read_text())
    owners = [("user", "-u", os.getuid()), ("group", "-g", folder.stat().st_gid)]
    for owner, flag, number in owners:
        if kind == "lustre":
            answer = ask("lfs", "quota", "-q", flag, str(number), point)
        else:
            answer = ask("quota", "-w", "-p", flag, *([str(number)] if flag == "-g" else []))
        if answer.output is None:
            yield Finding("quota", "skipped", f"of {folder} ({kind}): {answer.reason}")
            return
        used = parse_quota(answer.output, point if kind == "lustre" else device)
        if used is None:
            yield Finding(f"quota of the {owner}", "skipped", f"none told for {folder} ({kind})")
        else:
            yield quota_finding(owner, folder, used)


@dataclass(frozen=True, slots=True)
class Quota:
    """What is used and allowed, in bytes and in files; a limit of 0: none."""

    bytes_used: int
    bytes_limit: int
    files_used: int
    files_limit: int


def parse_quota(output: str, name: str) -> Quota | None:
    """The line of a file system in what `lfs quota -q` or `quota -w -p` prints; None where there is none like that.

    Eight fields after the name: KiB used (with a `*` where over), soft and hard limit, grace, and the same of files.
    """
    words = output.replace("*", "").split()
    for place, word in enumerate(words):
        fields = words[place + 1 : place + 9]
        if word.rstrip("/") != name.rstrip("/") or len(fields) < 8:
            continue
        numbers = [fields[at] for at in (0, 1, 2, 4, 5, 6)]
        if not all(re.fullmatch(r"\d+", number) for number in numbers):
            return None
        used, soft, hard, files, soft_files, hard_files = map(int, numbers)
        return Quota(1024 * used, 1024 * (soft or hard), files, soft_files or hard_files)
    return None


def quota_finding(owner: str, folder: Path, quota: Quota) -> Finding:
    """A quota as a finding: full is a failure, nearly full a warning."""
    parts = (
        (quota.bytes_used / 1e9, quota.bytes_limit / 1e9, "GB"),
        (quota.files_used, quota.files_limit, "files"),
    )
    told = ", ".join(f"{used:,.0f} of {limit:,.0f} {unit}" if limit else f"{used:,.0f} {unit}, no limit"
                     for used, limit, unit in parts)  # fmt: skip
    check, fullest = f"quota of the {owner}", max((used / limit for used, limit, _ in parts if limit), default=0.0)
    if fullest < NEARLY_FULL:
        return Finding(check, "ok", f"{told} in {folder}")
    why = "writing beyond it fails: the run stops at its next checkpoint"
    status = "failure" if fullest >= 1 else "warning"
    return Finding(check, status, f"{told} in {folder}", why, "remove or archive files, or run_dir=… elsewhere")


def file_system(folder: Path, mounts: str) -> tuple[str, str, str]:
    """The (type, device, mount point) of what holds a folder. mounts: the text of /proc/self/mountinfo."""
    best, found = "", ("unknown", "unknown", "/")
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].replace("\\040", " ")
        holds = folder.is_relative_to(point)
        if holds and len(point) >= len(best):
            kind, device, *_ = after.split()
            best, found = point, (kind, device, point)
    return found


def purge(case: Case) -> Iterator[Finding]:
    """What lies on a scratch that deletes old files, against the length of the run."""
    scratch = case.site.directories.scratch if case.site else None
    if case.site is None or case.recipe is None or scratch is None or scratch.purge_days is None:
        return
    root = case.environment.get(scratch.variable)
    if root is None:
        why = f"the site's scratch is ${scratch.variable}: without it nothing can be said of what is deleted when"
        mend = f"run this on {case.site.name}"
        yield Finding("scratch", "skipped", f"${scratch.variable} is not set here", why, mend)
        return
    length = duration_of(case)
    for name, path in (("run folder", case.run_folder), ("data", case.folder / case.recipe.data.path)):
        if existing(path).resolve().is_relative_to(Path(root).resolve()):
            yield purge_finding(name, path, scratch, length)
        else:
            yield Finding(f"purge of the {name}", "ok", f"{path} is not on ${scratch.variable}")


def purge_finding(name: str, path: Path, scratch: Directory, length: Duration | None) -> Finding:
    """A folder on scratch against the length of the run and the age of its oldest file."""
    check, days = f"purge of the {name}", scratch.purge_days or 0
    if length is None:
        told = f"{path} is on ${scratch.variable}, where files unread for {days} days are deleted"
        return Finding(check, "skipped", f"{told}; how long the run takes is not measured: say --hours")
    age = oldest_days(path)
    end = length.hours / HOURS_A_DAY + (age if name == "data" else 0.0)
    told = f"files unread for {days} days are deleted; the run takes {length}"
    if name == "data":
        told += f", its oldest file was last read {age:.0f} days ago"
    if end < days:
        return Finding(check, "ok", told)
    why = "a shard that is deleted stops the run; a checkpoint kept for later is gone without a word"
    if name == "data":
        mend = f"copy {path} to a file system that is not purged, and data.path=…"
        return Finding(check, "failure", told, why, mend)
    mend = "run_dir=… on a file system that is not purged, or copy its checkpoints away in time"
    return Finding(check, "warning", told, why, mend)


def oldest_days(folder: Path) -> float:
    """Days since the file of a folder that was left alone longest was read or written; 0 where it has none."""
    now, oldest = time.time(), 0.0
    for file in folder.rglob("*"):
        if file.is_file():
            found = file.stat()
            oldest = max(oldest, now - max(found.st_atime, found.st_mtime))
    return oldest / 86_400
