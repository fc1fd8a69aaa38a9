#!/bin/sh
# Sends ten times the rate that the server can score. benches/README.md has the method.
set -eu
cd "$(dirname "$0")/.."
. benches/support/server.sh

# The generator opens a connection for each request that finds none free. If there are more than the limit, the rest
# waits in the system's backlog and retries after seconds, and the measurement shows that.
SENTOR_API_KEY=$(new_key bench) SENTOR_REQUEST_TIMEOUT_MS=500 SENTOR_MAX_CONNECTIONS=15000
export SENTOR_API_KEY SENTOR_REQUEST_TIMEOUT_MS SENTOR_MAX_CONNECTIONS
documents=${BENCH_DOCUMENTS:-1}
start_server
# The same number of documents in flight for every request size, and no more than can be scored in time.
connections=$((documents < 16 ? 64 / documents : 4))
load_json "$data/peak.json" --connections "$connections" --documents "$documents"
rate=$(python3 -c 'import json, sys; print(max(1, round(json.load(open(sys.argv[1]))[0]["succeeded_per_second"] * 10)))' "$data/peak.json")

# Processor time of the connection threads, in clock ticks; empty on systems other than Linux.
http_ticks() { cat "/proc/$server/task/"*/stat 2>/dev/null | awk '$2 == "(http)" { ticks += $14 + $15 } END { print ticks + 0 }'; }

before=$(http_ticks)
load_json "$data/over.json" --rate "$rate" --documents "$documents"
http_seconds=$(awk "BEGIN { print ($(http_ticks) - $before) / $(getconf CLK_TCK) }")

python3 - "$data/peak.json" "$data/over.json" "$cores" "${bench:+pinned}" "${BENCH_JSON:-}" "$http_seconds" "$seconds" "$warm_up" <<'PYTHON'
import json, sys

peak, over = (json.load(open(path))[0] for path in sys.argv[1:3])
cores, pinned = int(sys.argv[3]), bool(sys.argv[4])
ratio = over["succeeded_per_second"] / max(peak["succeeded_per_second"], 1e-9)
# If the generator shares the server's cores, each rate is scaled by the processor time that it left to the server.
taken = lambda one: one["generator_cores"] or 0.0
left = lambda one: cores - taken(one)
for_time_left = ratio if pinned else ratio * left(peak) / left(over)
print(f"highest rate      {peak['succeeded_per_second']:8.1f} /s, the generator took {taken(peak):.2f} cores")
print(f"offered           {over['offered_rate']:8.1f} /s, the generator took {taken(over):.2f} cores")
print(f"goodput           {over['succeeded_per_second']:8.1f} /s, {ratio:.2f} of the highest, {for_time_left:.2f} for the time left to the server")
print(f"latency p99       {over['latency_ms']['p99']:8.1f} ms")
print(f"refusals          {over['refused']}, p99 {over['refusal_ms']['p99']:.1f} ms; failed {over['failed']}")
sent = over["offered_rate"] * (float(sys.argv[7]) + float(sys.argv[8]))
http_us = float(sys.argv[6]) / sent * 1e6
print(f"http threads      {http_us:8.1f} µs of processor time a request, all requests together")
if sys.argv[5]:
    figures = {"peak": peak, "over": over, "goodput_ratio": ratio, "goodput_ratio_for_time_left": for_time_left,
               "http_microseconds_per_request": http_us}
    json.dump(figures, open(sys.argv[5], "w"))
PYTHON
