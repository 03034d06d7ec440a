"""Questions and answers on French labour law, out of the guides that the demo's corpus reads: a file for `data chat`.

    python examples/sft_demo_data.py data/sft-demo/fiches-travail.jsonl

A section whose title is a question is one: the user asks it and names the guide, the assistant answers with the
section's first sentences. The package comes from the cache, where `make demo` has put it.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from clapas.recipe.files import atomic_write
from clapas_data.corpus import read_corpus
from clapas_data.formats.html import html_to_text
from clapas_data.sources.archive import members
from clapas_data.sources.npm import fetch_npm

LONGEST_ANSWER = 500
"""Characters: with its question less than the 256 tokens that the demo's model looks at."""


def conversations() -> list[dict[str, object]]:
    """One for each question of the guides, in their order."""
    source = read_corpus("demo").sources["fiches-travail"]
    package = fetch_npm(source.npm or "", source.sha256 or "")
    [member] = list(members(str(package), source.pattern or "*"))
    found = []
    for guide in json.loads(member.data or b"[]"):
        for section in guide["sections"]:
            question = " ".join((section.get("title") or "").split())
            answer = beginning(html_to_text(section["html"]))
            if question.endswith("?") and len(answer) > 80:
                asked = f"{question}\n(Fiche : {guide['title']})"
                messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
                found.append({"id": f"{guide['pubId']}/{section.get('anchor') or len(found)}", "messages": messages})
    return found


def beginning(text: str) -> str:
    """As many whole sentences, paragraph by paragraph, as an answer may be long."""
    kept, size = [], 0
    for paragraph in filter(None, (line.strip() for line in text.splitlines())):
        sentences = []
        for sentence in re.split(r"(?<=[.!?])\s+", paragraph):
            size += len(sentence) + 1
            if size > LONGEST_ANSWER:
                return "\n".join([*kept, *filter(None, [" ".join(sentences)])])
            sentences.append(sentence)
        kept.append(" ".join(sentences))
    return "\n".join(kept)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = conversations()
    atomic_write(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    print(f"{out}: {len(rows)} conversations", file=sys.stderr)
