#!/bin/sh
# Measures single sentences of one key, alone and beside another key's batches of 1,000 documents. benches/README.md has
# the method.
set -eu
cd "$(dirname "$0")/.."
. benches/support/server.sh

single=$(new_key single) bulk=$(new_key bulk)
start_server
SENTOR_API_KEY=$single load_json "$data/alone.json" --rate 20
SENTOR_API_KEY=$bulk $bench "$sentor" bench --url "$url" --seconds 86399 --warm-up-seconds 0 --connections 2 \
    --documents 1000 >/dev/null 2>&1 &
crowd=$!
sleep 2
SENTOR_API_KEY=$single load_json "$data/beside.json" --rate 20

python3 - "$data/alone.json" "$data/beside.json" "${BENCH_JSON:-}" <<'PYTHON'
import json, sys

alone, beside = (json.load(open(path))[0] for path in sys.argv[1:3])
for name, one in (("alone", alone), ("beside batches", beside)):
    latency = one["latency_ms"]
    print(f"{name:15} p50 {latency['p50']:8.1f} ms  p99 {latency['p99']:8.1f} ms  refused {one['refused']}  failed {one['failed']}")
ratio = beside["latency_ms"]["p99"] / max(alone["latency_ms"]["p99"], 1e-9)
print(f"{'ratio of p99':15} {ratio:.2f}")
if sys.argv[3]:
    json.dump({"alone": alone, "beside": beside, "p99_ratio": ratio}, open(sys.argv[3], "w"))
PYTHON
