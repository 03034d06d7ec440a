"""A build, one stage after another, each with the seconds that it took.

    python data_stages.py CORPUS OUT TOKENIZER WORKERS LAST RESULT

LAST: the stage after which it ends. RESULT: the JSON file that is written: stage -> seconds, and seconds of CPU of all
processes; `plan` is fetching and listing, `start` what Python's own start and imports took.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

BEGAN = time.monotonic()

from clapas_data.build import build_stages, ordered, plan_build  # noqa: E402
from clapas_data.local import run_stages  # noqa: E402
from clapas_data.workers import Workers  # noqa: E402


def cpu_seconds() -> float:
    """Of this process and its workers, since they began."""
    total = time.process_time()
    for child in multiprocessing.active_children():
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def main() -> None:
    corpus, out, tokenizer, workers, last, result = sys.argv[1:7]
    seconds = {"start": (time.monotonic() - BEGAN, cpu_seconds())}
    with ordered(corpus, Path(out), Path(tokenizer)) as order, Workers(int(workers)) as pool:
        began, cpu = time.monotonic(), cpu_seconds()
        folder = plan_build(order)
        assert folder is not None
        seconds["plan"] = time.monotonic() - began, cpu_seconds() - cpu
        for stage in build_stages(folder, order.corpus):
            began, cpu = time.monotonic(), cpu_seconds()
            run_stages([stage], pool)
            seconds[stage.name] = time.monotonic() - began, cpu_seconds() - cpu
            if stage.name == last:
                break
    Path(result).write_text(json.dumps(seconds))


if __name__ == "__main__":
    main()
