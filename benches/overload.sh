#!/bin/sh
# Ten times the rate that can be done; benches/README.md has the method.
set -eu
cd "$(dirname "$0")/.."
. benches/support/server.sh

SENTOR_API_KEY=$(new_key bench) SENTOR_REQUEST_TIMEOUT_MS=500
export SENTOR_API_KEY SENTOR_REQUEST_TIMEOUT_MS
start_server
load --connections 16 --json >"$data/peak.json"
rate=$(python3 -c 'import json, sys; print(round(json.load(open(sys.argv[1]))[0]["succeeded_per_second"] * 10))' "$data/peak.json")
load --rate "$rate" --json >"$data/over.json"

python3 - "$data/peak.json" "$data/over.json" <<'PYTHON'
import json, sys

peak, over = (json.load(open(path))[0] for path in sys.argv[1:])
print(f"highest rate      {peak['succeeded_per_second']:8.1f} /s")
print(f"offered           {over['offered_rate']:8.1f} /s")
print(f"goodput           {over['succeeded_per_second']:8.1f} /s, {over['succeeded_per_second'] / peak['succeeded_per_second']:.2f} of the highest")
print(f"latency p99       {over['latency_ms']['p99']:8.1f} ms")
print(f"refusals          {over['refused']}, p99 {over['refusal_ms']['p99']:.1f} ms; failed {over['failed']}")
PYTHON
