#!/bin/sh
# Resident memory under a mixed load; benches/README.md has the method. Linux only: it reads /proc.
set -eu
cd "$(dirname "$0")/.."
BENCH_SECONDS=${BENCH_SECONDS:-600}
. benches/support/server.sh

SENTOR_API_KEY=$(new_key bench)
export SENTOR_API_KEY
start_server
load --connections 4 --language mixed --sentences mixed --documents 4 --entities 3 --warm-up-seconds 0 >/dev/null &
python3 - "$server" "$seconds" <<'PYTHON'
import sys, time

server, seconds = sys.argv[1], float(sys.argv[2])
samples, start = [], time.monotonic()
while time.monotonic() - start < seconds:
    with open(f"/proc/{server}/status") as status:
        kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
    samples.append((time.monotonic() - start, kilobytes / 1024))
    time.sleep(min(2.0, seconds / 20))
late = samples[len(samples) // 2 :]
mean_t = sum(t for t, _ in late) / len(late)
mean_m = sum(m for _, m in late) / len(late)
slope = sum((t - mean_t) * (m - mean_m) for t, m in late) / sum((t - mean_t) ** 2 for t, _ in late)
print(f"highest {max(m for _, m in samples):.0f} MiB, at the end {samples[-1][1]:.0f} MiB, slope {slope * 3600:+.1f} MiB an hour")
PYTHON
wait
