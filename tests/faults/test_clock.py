"""The wall clock is set while a run goes on, as NTP and administrators do: it is a date, and nothing is timed by it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from clapas.ledger.ledger import read_json_lines, read_ledger
from faults.faulty_runs import run_with_fault
from faults.runs import rows

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long ahead(void) {
    long seconds = 0;
    FILE *file = fopen(getenv("CLOCK_AHEAD"), "r");
    if (file) { if (fscanf(file, "%ld", &seconds) != 1) seconds = 0; fclose(file); }
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += ahead();
    return code;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (now) *now = precise.tv_sec;
    return precise.tv_sec;
}
"""
"""Sets the wall clock of one process, its C code included, by the seconds in a file (libfaketime breaks sleeping)."""
SET = "RANK == 0 and step in (3, 5) and open('ahead', 'w').write({3: '-86400', 5: '172800'}[step])"
DAY = 86_400


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """What sets the clock, for LD_PRELOAD."""
    compiler = shutil.which("cc")
    if compiler is None:
        if os.environ.get("CI") == "true":
            pytest.fail("a C compiler is missing: apt-get install gcc libc6-dev")
        pytest.skip("needs a C compiler")
    (tmp_path / "clock.c").write_text(SOURCE)
    built = tmp_path / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", built, tmp_path / "clock.c", "-ldl"], check=True)
    return built


@pytest.mark.slow
def test_a_clock_that_jumps_is_neither_a_stall_nor_a_loss(
    library: Path, test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day back at step 3, three forward at step 5: equal rows, sound durations, and only the dates tell of it."""
    for name in ("steady", "jumps"):
        (tmp_path / name).mkdir()
    options = ("checkpoint.every=2", "checkpoint.asynchronous=false", "faults.stall_seconds=60")
    assert [rank.returncode for rank in run_with_fault(tmp_path / "steady", test_data, *options)] == [0, 0]
    folder = tmp_path / "jumps"
    (folder / "ahead").write_text("0")
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("CLOCK_AHEAD", str(folder / "ahead"))
    ended = run_with_fault(folder, test_data, *options, before_step=SET)
    assert [rank.returncode for rank in ended] == [0, 0], ended
    assert rows(folder) == rows(tmp_path / "steady")
    events = read_ledger(folder / "run")
    times = {(event["event"], event["step"]): event["time"] for event in events}
    assert times["checkpoint", 4] < times["segment_start", 0] - DAY / 2
    assert times["checkpoint", 6] > times["segment_start", 0] + DAY
    assert {event["event"] for event in events} <= {
        "segment_start",
        "checkpoint",
        "evaluation",
        "segment_end",
        "low_mfu",
    }
    logged = [row for row in read_json_lines(folder / "run/metrics.jsonl") if "split" not in row]
    assert all(0 < row["step_seconds"] < 60 for row in logged)
    assert all(0 <= event["save_seconds"] < 60 for event in events if event["event"] == "checkpoint")
    assert events[-1]["totals"]["seconds"] < 120
