"""Sums in French: conversations to begin with, and prompts for GRPO, whose answers are never shown (docs/grpo.md).

python examples/french_sums.py FOLDER
"""

import json
import sys
from pathlib import Path

LARGEST = 5
SHOWN = 2
"""One sum in so many is shown with its answer; GRPO asks all of them."""
QUESTIONS = ("Combien font {} + {} ?", "Calcule {} plus {}.", "Quelle est la somme de {} et {} ?")

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
sums = [(one, other) for one in range(LARGEST + 1) for other in range(LARGEST + 1)]
conversations, prompts = [], []
for place, (one, other) in enumerate(sums):
    for question in QUESTIONS:
        asked = {"role": "user", "content": question.format(one, other)}
        answer = {"role": "assistant", "content": f"Cela fait {one + other}."}
        if place % SHOWN == 0:
            conversations.append({"messages": [asked, answer]})
        prompts.append({"prompt": [asked], "answer": str(one + other)})
for name, rows in (("conversations", conversations), ("prompts", prompts)):
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
print(f"{len(conversations)} conversations and {len(prompts)} prompts in {folder}", file=sys.stderr)
