#!/bin/sh
# Resident memory under a mixed load; benches/README.md has the method. Linux only: it reads /proc.
set -eu
cd "$(dirname "$0")/.."
BENCH_SECONDS=${BENCH_SECONDS:-600} BENCH_WARM_UP_SECONDS=0
. benches/support/server.sh

SENTOR_API_KEY=$(new_key bench)
export SENTOR_API_KEY
start_server
load --connections 4 --language mixed --sentences mixed --documents 4 --entities 3 \
    >"$data/load" 2>&1 &
crowd=$!
python3 - "$server" "$seconds" "${BENCH_JSON:-}" <<'PYTHON'
import json, sys, time

server, seconds = sys.argv[1], float(sys.argv[2])
samples, start = [], time.monotonic()
while time.monotonic() - start < seconds:
    with open(f"/proc/{server}/status") as status:
        kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
    samples.append((time.monotonic() - start, kilobytes / 1024))
    time.sleep(min(2.0, seconds / 40))
late = samples[len(samples) // 2 :]
mean_t = sum(t for t, _ in late) / len(late)
mean_m = sum(m for _, m in late) / len(late)
spread = sum((t - mean_t) ** 2 for t, _ in late)
slope = sum((t - mean_t) * (m - mean_m) for t, m in late) / spread * 3600
# Two standard errors of the slope.
rest = sum((m - mean_m - slope / 3600 * (t - mean_t)) ** 2 for t, m in late)
error = 2 * (rest / max(1, len(late) - 2) / spread) ** 0.5 * 3600
highest = max(m for _, m in samples)
print(f"highest {highest:.0f} MiB, at the end {samples[-1][1]:.0f} MiB, slope {slope:+.1f} ± {error:.1f} MiB an hour over the last {seconds / 2:.0f} s")
if sys.argv[3]:
    figures = {"seconds": seconds, "highest_mib": highest, "end_mib": samples[-1][1], "slope_mib_per_hour": slope,
               "slope_error_mib_per_hour": error, "samples": samples}
    json.dump(figures, open(sys.argv[3], "w"))
PYTHON
wait "$crowd" || { cat "$data/load" >&2; exit 1; }
crowd=
cat "$data/load"
