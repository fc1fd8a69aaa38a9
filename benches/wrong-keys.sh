#!/bin/sh
# Measures whether wrong keys at full speed slow the right ones; benches/README.md has the method.
set -eu
cd "$(dirname "$0")/.."
. benches/support/server.sh
# Both generators on one core would slow each other, and so the wrong keys.
serve= bench=

right=$(new_key right)
# A well-formed key that was never issued: the most expensive to reject.
wrong=$("$sentor" keys create wrong --data-dir "$data/elsewhere")
# A line for each wrong key would measure the log.
SENTOR_LOG_LEVEL=warn
export SENTOR_LOG_LEVEL
start_server

SENTOR_API_KEY=$right load --rate 20 --json >"$data/alone.json"
# They are sent for longer than the right ones are measured.
SENTOR_API_KEY=$wrong $bench "$sentor" bench --url "$url" --seconds "$((seconds + 10))" --connections 16 --json \
    >"$data/wrong.json" 2>/dev/null &
flood=$!
trap 'kill "$flood" "$server" 2>/dev/null || true; rm -rf "$data"' EXIT INT TERM
sleep 2
SENTOR_API_KEY=$right load --rate 20 --json >"$data/beside.json"
# Its exit code may be an error, since all of its requests are rejected.
wait "$flood" || true

python3 - "$data/alone.json" "$data/beside.json" "$data/wrong.json" <<'PYTHON'
import json, sys

alone, beside, wrong = (json.load(open(path))[0] for path in sys.argv[1:])
for name, one in (("right keys alone", alone), ("beside wrong ones", beside)):
    latency = one["latency_ms"]
    print(f"{name:18} p50 {latency['p50']:8.1f} ms  p99 {latency['p99']:8.1f} ms  succeeded {one['succeeded']}  failed {one['failed']}")
for name in ("p50", "p99"):
    print(f"{'ratio of ' + name:18} {beside['latency_ms'][name] / alone['latency_ms'][name]:.2f}")
print(f"{'wrong keys':18} {wrong['failed'] / wrong['seconds']:8.1f} /s refused, {wrong['succeeded']} let in; {wrong['first_failure']}")
sound = alone["failed"] == beside["failed"] == wrong["succeeded"] == 0 and wrong["failed"] > 0
sys.exit(0 if sound else "right keys failed, or wrong ones did not")
PYTHON
