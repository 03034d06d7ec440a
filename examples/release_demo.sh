#!/usr/bin/env bash
# The demo's model as a release: measured, documented, checked, signed, verified as a stranger would, published to a folder.
# After `make demo`. A step that is done is not done again (`make demo-clean` starts over).
set -euo pipefail
cd "$(dirname "$0")/.."

run=runs/demo
out=release/demo

step() { printf '\n\033[1m== %s\033[0m\n' "$1"; printf '   $ %s\n' "$2"; }

if ! ls $run/evaluations/*-probes.json >/dev/null 2>&1; then
  step "1. What the release will tell: memorisation, bias, toxicity, refusal" "clapas eval $run --probe all --record"
  clapas eval $run --probe all --record
fi
if ! ls $run/evaluations/*-tasks.json >/dev/null 2>&1; then
  step "2. Small French tasks, with every answer" "clapas eval $run --tasks local --record"
  clapas eval $run --tasks local --record
fi
if ! ls $run/evaluations/*-contamination.json >/dev/null 2>&1; then
  step "3. Whether their questions stand in the training text" "clapas eval $run --contamination --record"
  clapas eval $run --contamination --record
fi
if [ ! -e release/keys ]; then
  step "4. A key to sign with" "clapas keygen --out release/keys"
  clapas keygen --out release/keys
fi
if [ ! -e $out ]; then
  step "5. The release" "clapas release $run --answers examples/release.yaml --key release/keys/key.pem --out $out --gguf q8_0"
  clapas release $run --answers examples/release.yaml --key release/keys/key.pem --out $out --gguf q8_0
fi
step "6. A stranger verifies it, offline" "clapas verify $out --public-key release/keys/key.pub.pem"
clapas verify $out --public-key release/keys/key.pub.pem

step "7. Published to a folder, as an institution would store it" "clapas publish $out --mirror release/mirror"
clapas publish $out --mirror release/mirror

printf '\nDone. Read %s/README.md, and open release/mirror/index.html.\n' "$out"
