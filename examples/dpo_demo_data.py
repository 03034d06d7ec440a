"""Pairs of answers out of the demo's questions on French labour law: a file for `data chat --kind pairs`.

    python examples/dpo_demo_data.py data/sft-demo/fiches-travail.jsonl data/dpo-demo/pairs.jsonl

The first file is `examples/sft_demo_data.py`'s. A question's own answer is the preferred one; the other is what the
same guide answers to its next question. Nobody has judged them: they teach to answer what was asked.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

from clapas.recipe.files import atomic_write


def pairs(conversations: list[dict[str, list[dict[str, str]]]]) -> list[dict[str, object]]:
    """One for each question of a guide that has several."""
    by_guide: defaultdict[str, list[list[dict[str, str]]]] = defaultdict(list)
    for conversation in conversations:
        messages = conversation["messages"]
        by_guide[messages[0]["content"].rpartition("\n")[2]].append(messages)
    found: list[dict[str, object]] = []
    for asked in by_guide.values():
        for messages, others in zip(asked, [*asked[1:], asked[0]], strict=True):
            if messages[1]["content"] != others[1]["content"]:
                found.append({"prompt": messages[:1], "chosen": messages[1:], "rejected": others[1:]})
    return found


if __name__ == "__main__":
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    rows = pairs([json.loads(line) for line in source.read_text().splitlines()])
    out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    print(f"{out}: {len(rows)} pairs", file=sys.stderr)
