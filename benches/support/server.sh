# Sourced by the load scripts, from the root of the repository. Starts a server on a free port with a data folder of its
# own, without cache and sharing, so that every text is scored. Sets `url`, and `serve` and `bench` (the commands that
# keep server and generator on separate cores, if there are enough).
sentor=${SENTOR:-target/release/sentor}
[ -x "$sentor" ] || { echo "run \`make build\` first: $sentor is missing" >&2; exit 1; }
seconds=${BENCH_SECONDS:-10}
warm_up=${BENCH_WARM_UP_SECONDS:-2}
data=$(mktemp -d)
server= crowd=
trap 'for one in $crowd $server; do kill "$one" 2>/dev/null || true; wait "$one" 2>/dev/null || true; done; rm -rf "$data"' EXIT
trap 'exit 1' INT TERM

cores=$(nproc 2>/dev/null || sysctl -n hw.ncpu)
serve= bench=
if [ "$cores" -ge 3 ] && command -v taskset >/dev/null; then
    serve="taskset -c 0-$((cores - 2))" bench="taskset -c $((cores - 1))"
fi

SENTOR_CACHE_BYTES=${SENTOR_CACHE_BYTES:-0} SENTOR_DEDUPLICATE=${SENTOR_DEDUPLICATE:-false}
export SENTOR_CACHE_BYTES SENTOR_DEDUPLICATE

new_key() { "$sentor" keys create "$1" --data-dir "$data"; }

start_server() {
    : >"$data/out"
    $serve "$sentor" serve --listen 127.0.0.1:0 --data-dir "$data" >"$data/out" 2>"$data/log" &
    server=$!
    url=
    for _ in $(seq 100); do
        url=$(sed -n 's/^listening on \(http[^ ]*\).*/\1/p' "$data/out")
        [ -n "$url" ] && return
        kill -0 "$server" 2>/dev/null || { cat "$data/log" >&2; exit 1; }
        sleep 0.1
    done
    echo "the server was not ready within ten seconds" >&2
    exit 1
}

load() { $bench "$sentor" bench --url "$url" --seconds "$seconds" --warm-up-seconds "$warm_up" "$@"; }

# Runs a load with --json into FILE. Failed requests are counted in the file, and do not end the script.
load_json() { # FILE OPTIONS...
    file=$1; shift
    load --json "$@" >"$file" || [ -s "$file" ]
}
