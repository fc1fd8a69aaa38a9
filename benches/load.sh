#!/bin/sh
# Measures a running server under load; benches/README.md has the method.
set -eu
cd "$(dirname "$0")/.."

sentor=target/release/sentor
[ -x "$sentor" ] || { echo "run \`make build\` first: $sentor is missing" >&2; exit 1; }
seconds=${SENTOR_BENCH_SECONDS:-10}
data=$(mktemp -d)
server=
trap 'kill "$server" 2>/dev/null || true; rm -rf "$data"' EXIT INT TERM

cores=$(nproc 2>/dev/null || sysctl -n hw.ncpu)
serve= bench=
if [ "$cores" -ge 4 ] && command -v taskset >/dev/null; then
    serve="taskset -c 0-$((cores - 2))" bench="taskset -c $((cores - 1))"
fi

SENTOR_API_KEY=$("$sentor" keys create bench --data-dir "$data")
export SENTOR_API_KEY
$serve "$sentor" serve --listen 127.0.0.1:0 --data-dir "$data" >"$data/out" 2>"$data/log" &
server=$!
url=
for _ in $(seq 100); do
    url=$(sed -n 's/^listening on \(http[^ ]*\).*/\1/p' "$data/out")
    [ -n "$url" ] && break
    kill -0 "$server" 2>/dev/null || { cat "$data/log" >&2; exit 1; }
    sleep 0.1
done

load() { $bench "$sentor" bench --url "$url" --seconds "$seconds" "$@"; }
for language in en nl; do
    echo "== $language: highest rate, one document a request"
    load --language "$language" --connections 16
    echo "== $language: highest rate, 32 documents a request"
    load --language "$language" --connections 4 --documents 32
    echo "== $language: one idle connection"
    load --language "$language" --connections 1
done
echo "== en: open loop up to 1.5 times the highest rate"
peak=$(load --language en --connections 16 --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["succeeded_per_second"])')
rates=$(python3 -c "print(','.join(f'{float($peak) * share:.0f}' for share in (0.25, 0.5, 0.75, 0.9, 1.1, 1.5)))")
load --language en --rate "$rates" --plot target/load.svg
