"""The start of a run looks at its files once, not once a rank: the C library is asked, which all of them go through."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from commands import clapas_environment

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void count(const char *call, const char *path) {
    const char *log = getenv("COUNT_LOG"), *under = getenv("COUNT_UNDER"), *rank = getenv("RANK");
    char line[4096];
    if (!log || !under || !path || !strstr(path, under)) return;
    int length = snprintf(line, sizeof line, "%s %s %s\n", rank ? rank : "launcher", call, path);
    long file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT, 0644);
    syscall(SYS_write, file, line, length);
    syscall(SYS_close, file);
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define MODE(flags) int mode = 0; if ((flags) & O_CREAT) { va_list more; va_start(more, flags); \
    mode = va_arg(more, int); va_end(more); }
#define OPEN(name) int name(const char *path, int flags, ...) { \
    REAL(name); MODE(flags); count("open", path); return real(path, flags, mode); }
#define OPENAT(name) int name(int folder, const char *path, int flags, ...) { \
    REAL(name); MODE(flags); count("open", path); return real(folder, path, flags, mode); }
#define STAT(name, type) int name(const char *restrict path, struct type *restrict found) { \
    REAL(name); count("stat", path); return real(path, found); }
#define STATAT(name, type) int name(int folder, const char *restrict path, struct type *restrict found, int flags) { \
    REAL(name); count("stat", path); return real(folder, path, found, flags); }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
STAT(stat, stat)
STAT(lstat, stat)
STAT(stat64, stat64)
STAT(lstat64, stat64)
STATAT(fstatat, stat)
STATAT(fstatat64, stat64)
int statx(int folder, const char *restrict path, int flags, unsigned mask, struct statx *restrict found) {
    REAL(statx); count("stat", path); return real(folder, path, flags, mask, found);
}
int access(const char *path, int mode) { REAL(access); count("access", path); return real(path, mode); }
"""
SMALL = (
    "schedule.name=constant",
    "schedule.warmup_steps=0",
    "checkpoint.every=1",
    "evaluation.every=100",
)
METADATA = re.compile(r"manifest\.json|documents\.parquet|tokenizer|COMMITTED")
Calls = dict[str, Counter[tuple[str, str]]]
"""Rank (or "launcher") -> how often each (call, path) was made."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What counts the calls of a process, for LD_PRELOAD."""
    folder = tmp_path_factory.mktemp("counter")
    compiler = shutil.which("cc")
    if compiler is None:
        if os.environ.get("CI") == "true":
            pytest.fail("a C compiler is missing: apt-get install gcc libc6-dev")
        pytest.skip("needs a C compiler")
    (folder / "count.c").write_text(SOURCE)
    built = folder / "count.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-w", "-o", built, folder / "count.c", "-ldl"], check=True)
    return built


def train_counted(library: Path, folder: Path, under: str, *overrides: str, ranks: int = 2) -> Calls:
    """Train; what each rank asked the file system about paths that hold `under`."""
    log = folder / "calls"
    log.unlink(missing_ok=True)
    counting = {"LD_PRELOAD": str(library), "COUNT_LOG": str(log), "COUNT_UNDER": under}
    command = [sys.executable, "-m", "clapas", "train", "test", *SMALL, *overrides, "--nproc", str(ranks)]
    ended = subprocess.run(
        command,
        cwd=folder,
        env={**clapas_environment(), **counting},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    calls: Calls = defaultdict(Counter)
    for line in log.read_text().splitlines():
        rank, call, path = line.split(" ", 2)
        calls[rank][call, path] += 1
    return calls


def assert_reads_only(calls: Counter[tuple[str, str]]) -> None:
    """A rank that looks at nothing: it opens shards that it reads, once for training and once for validation."""
    assert calls, "a rank that reads no data was not counted"
    for (call, path), times in calls.items():
        assert call == "open", f"{call} of {path}, {times} times"
        assert Path(path).suffix in (".bin", ".idx", ".crc"), path
        assert times == 1, f"{path} opened {times} times"


def test_only_the_first_rank_looks_at_the_corpus(library: Path, test_data: Path, tmp_path: Path) -> None:
    """Of two ranks the second opens the shards that it reads, and asks for nothing else."""
    data = shutil.copytree(test_data, tmp_path / "counted")
    calls = train_counted(library, tmp_path, "counted/", f"data.path={data}", "run_dir=run", "train.steps=1")
    assert calls["0"]["open", f"{data}/manifest.json"] == 1
    assert calls["0"]["stat", f"{data}/train/fiches-travail-00000.bin"] == 1
    assert_reads_only(calls["1"])


@pytest.mark.slow
def test_more_ranks_ask_no_more_and_a_checkpoint_is_shared_out(library: Path, test_data: Path, tmp_path: Path) -> None:
    """Four ranks: three of them only read. After a resume each looks at its own file of the checkpoint."""
    data = shutil.copytree(test_data, tmp_path / "counted")
    options = (f"data.path={data}", "run_dir=run")
    calls = train_counted(library, tmp_path, "counted/", *options, "train.steps=1", ranks=4)
    for rank in ("1", "2", "3"):
        assert_reads_only(calls[rank])
    calls = train_counted(library, tmp_path, "/step-00000001/", *options, "train.steps=2", ranks=4)
    for rank in (1, 2, 3):
        asked = {Path(path).name for _, path in calls[str(rank)]}
        assert asked == {f"rank-{rank:05}-of-00004.safetensors"}
    assert any(METADATA.search(path) for _, path in calls["0"])
