#!/bin/sh
# Measures a running server under load; benches/README.md has the method.
set -eu
cd "$(dirname "$0")/.."

. benches/support/server.sh

SENTOR_API_KEY=$(new_key bench)
export SENTOR_API_KEY
start_server
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
