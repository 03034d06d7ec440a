#!/usr/bin/env bash
# The demo, step by step: raw French text -> tokenizer -> shards -> trained model -> Hugging Face folder -> French sentences.
# Each step is a command that you can paste; a step that is done is not done again (`make demo-clean` starts over).
set -euo pipefail
cd "$(dirname "$0")/.."

data=data/demo
run=runs/demo

step() { printf '\n\033[1m== %s\033[0m\n' "$1"; printf '   $ %s\n' "$2"; }

step "1. A tokenizer, trained on the text of French law (downloads 16 MB the first time)" \
  "clapas tokenizer train demo --vocab-size 8192 --out $data/tokenizer"
clapas tokenizer train demo --vocab-size 8192 --out $data/tokenizer

step "2. The text as token shards; one whole code is held out" "clapas data build demo --out $data"
clapas data build demo --out $data
clapas data inspect $data

step "3. Pretraining by DeepSpeed on two ranks" "clapas train demo --nproc 2"
clapas train demo --nproc 2

step "4. A Hugging Face folder" "clapas export $run --out $run/export"
if [ -e $run/export ]; then echo "   $run/export is there already"; else clapas export $run --out $run/export; fi

step "5. Stock transformers loads it and writes French" "python examples/load_with_transformers.py $run/export"
python examples/load_with_transformers.py $run/export

step "6. How good is it? Bits per byte on a code of law that it has never seen" \
  "clapas eval $run --data $data --split heldout --compare-xz"
clapas eval $run --data $data --split heldout --compare-xz

step "7. The run as a page, and its loss" "clapas report $run --plot"
clapas report $run --plot

printf '\nDone. Next: docs/tutorial.md, with your own text at the end.\n'
