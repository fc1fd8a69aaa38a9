#!/bin/sh
# Single sentences of one key, alone and beside another key's batches of 1,000 documents; benches/README.md has the method.
set -eu
cd "$(dirname "$0")/.."
. benches/support/server.sh

single=$(new_key single) bulk=$(new_key bulk)
start_server
SENTOR_API_KEY=$single load --rate 20 --json >"$data/alone.json"
SENTOR_API_KEY=$bulk $bench "$sentor" bench --url "$url" --seconds 86399 --warm-up-seconds 0 --connections 2 \
    --documents 1000 >/dev/null 2>&1 &
crowd=$!
trap 'kill "$crowd" "$server" 2>/dev/null || true; rm -rf "$data"' EXIT INT TERM
sleep 2
SENTOR_API_KEY=$single load --rate 20 --json >"$data/beside.json"

python3 - "$data/alone.json" "$data/beside.json" <<'PYTHON'
import json, sys

alone, beside = (json.load(open(path))[0] for path in sys.argv[1:])
for name, one in (("alone", alone), ("beside batches", beside)):
    latency = one["latency_ms"]
    print(f"{name:15} p50 {latency['p50']:8.1f} ms  p99 {latency['p99']:8.1f} ms  refused {one['refused']}  failed {one['failed']}")
print(f"{'ratio of p99':15} {beside['latency_ms']['p99'] / alone['latency_ms']['p99']:.2f}")
PYTHON
