#!/usr/bin/env bash
# The demo's model learns to answer: questions of real guides -> examples -> fine-tuned model -> an answer (docs/sft.md).
# Needs `make demo` first; a step that is done is not done again.
set -euo pipefail
cd "$(dirname "$0")/.."

data=data/sft-demo
if [ ! -e runs/demo/checkpoints ]; then echo "There is no runs/demo yet: make demo" >&2; exit 2; fi

step() { printf '\n\033[1m== %s\033[0m\n' "$1"; }

step "1. Questions and answers, out of the guides that the demo has fetched"
[ -e $data/fiches-travail.jsonl ] || python examples/sft_demo_data.py $data/fiches-travail.jsonl

step "2. Through the chat template: what of each conversation is learned"
[ -e $data/examples ] || clapas data chat $data/fiches-travail.jsonl examples/dialogues.jsonl --out $data/examples \
  --tokenizer data/demo/tokenizer --held-out 0.05 \
  --licence "fiches-travail=etalab-2.0 AND Apache-2.0" --licence dialogues=CC0-1.0

step "3. Fine-tuning on two ranks"
clapas train tune/sft-demo --nproc 2

step "4. An answer"
echo "Quelle est la durée de la période d'essai ?" | clapas chat runs/sft-demo --temperature 0 --repetition-penalty 1.15

printf '\nDone. Talk with it: clapas chat runs/sft-demo\n'
