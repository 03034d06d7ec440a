"""Train on documents of your own: an iterator of texts -> tokenizer -> token shards -> a trained model that writes.

python examples/own_data.py [key.sub=value ...]
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import clapas
from clapas_data.build import build
from clapas_data.tokenizer.train import train as train_tokenizer


def documents() -> Iterator[str]:
    """Anything that yields texts: a database, an archive, a crawl."""
    for number in range(3000):
        yield f"Article {number}. La somme de {number} et de {number + 7} est {2 * number + 7}, selon l'annexe."


if __name__ == "__main__":  # the builder starts processes, which import this file
    home = Path("data/own")
    home.mkdir(parents=True, exist_ok=True)
    rows = (json.dumps({"id": str(number), "text": text}) + "\n" for number, text in enumerate(documents()))
    (home / "documents.jsonl").write_text("".join(rows))
    source = {"files": "documents.jsonl", "licence": "CC0-1.0"}
    (home / "corpus.yaml").write_text(json.dumps({"name": "own", "sources": {"own": source}}))  # JSON is YAML

    train_tokenizer(home / "corpus.yaml", vocab_size=600, out=home / "tokenizer")
    build(home / "corpus.yaml", home)
    recipe = clapas.read_recipe(
        "test", [f"data.path={home}", "model.vocab_size=600", "run_dir=runs/own", *sys.argv[1:]]
    )
    clapas.train(recipe)
