"""Pairs of answers out of the demo's questions on French labour law: a file for `data chat --kind pairs`.

    python examples/dpo_demo_data.py data/sft-demo/fiches-travail.jsonl data/dpo-demo/pairs.jsonl

The first file is `examples/sft_demo_data.py`'s. Small models repeat themselves. So a question's own answer is preferred
to its first sentence, said over and over until it is as long. Nobody has judged them: they teach not to repeat.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from clapas.recipe.files import atomic_write


def pair(messages: list[dict[str, str]]) -> dict[str, object] | None:
    """The pair of a question and its answer; None where the answer is a single sentence."""
    answer = messages[1]["content"]
    first = re.split(r"(?<=[.!?;:])\s+", answer)[0]
    if len(first) > len(answer) / 2:
        return None
    repeated = " ".join([first] * (len(answer) // len(first)))
    return {"prompt": messages[:1], "chosen": messages[1:], "rejected": [{"role": "assistant", "content": repeated}]}


if __name__ == "__main__":
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    rows = [pair(json.loads(line)["messages"]) for line in source.read_text().splitlines()]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows if row is not None]
    out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(out, "".join(lines))
    print(f"{out}: {len(lines)} pairs", file=sys.stderr)
