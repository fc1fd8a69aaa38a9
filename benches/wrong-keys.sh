#!/bin/sh
# Measures whether wrong keys at full speed slow the right ones; benches/README.md has the method.
set -eu
cd "$(dirname "$0")/.."

sentor=target/release/sentor
[ -x "$sentor" ] || { echo "run \`make build\` first: $sentor is missing" >&2; exit 1; }
seconds=${BENCH_SECONDS:-10}
data=$(mktemp -d)
server= flood=
trap 'kill $server $flood 2>/dev/null || true; rm -rf "$data"' EXIT INT TERM

right=$("$sentor" keys create right --data-dir "$data")
# A key of the right form that this server never issued: the dearest to refuse.
wrong=$("$sentor" keys create wrong --data-dir "$data/elsewhere")
"$sentor" serve --listen 127.0.0.1:0 --data-dir "$data" --log-level warn >"$data/out" 2>"$data/log" &
server=$!
url=
for _ in $(seq 100); do
    url=$(sed -n 's/^listening on \(http[^ ]*\).*/\1/p' "$data/out")
    [ -n "$url" ] && break
    kill -0 "$server" 2>/dev/null || { cat "$data/log" >&2; exit 1; }
    sleep 0.1
done

measure() { SENTOR_API_KEY=$right "$sentor" bench --url "$url" --seconds "$seconds" --rate 20; }
echo "== right keys alone"
measure
echo "== right keys beside 16 connections with a wrong one"
SENTOR_API_KEY=$wrong "$sentor" bench --url "$url" --seconds "$((seconds + 10))" --connections 16 >"$data/flood" 2>&1 &
flood=$!
sleep 2
measure
wait "$flood" || true
flood=
echo "== what became of the wrong ones"
cat "$data/flood"
