#!/usr/bin/env python3
"""Measures every goal of the engine in one go, prints a table with goal, figure and verdict, and writes all figures as JSON.

benches/README.md has the method. Needs only Python's own library; `make build` and `make onnxruntime` must have been run.

    python3 benches/goals.py                        all goals, in less than twelve minutes
    python3 benches/goals.py --only idle,cold       some of them
    GOALS_SCALE=0.1 python3 benches/goals.py        a tenth of the time: that it runs, not what it comes to
    GOALS_MEMORY_SECONDS=3600 python3 benches/goals.py --only memory
"""

import argparse
import http.client
import json
import os
import pathlib
import platform
import re
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SENTOR = pathlib.Path(os.environ.get("SENTOR", ROOT / "target/release/sentor")).resolve()
CARGO = shlex.split(os.environ.get("CARGO", "cargo"))
SCALE = float(os.environ.get("GOALS_SCALE", "1"))
MEMORY_SECONDS = float(os.environ.get("GOALS_MEMORY_SECONDS", 120 * SCALE))
CORES = len(os.sched_getaffinity(0))
# With three cores or more the generator has the last one to itself. With two it shares them, and its processor time is
# measured.
PINNED = CORES >= 3 and shutil.which("taskset") is not None
ALL_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORES = ALL_CORES[:-1] if PINNED else ALL_CORES
MODELS = {"en": "sentor-en", "nl": "sentor-nl"}

# A sentence with ten entities.
TEN = ["camera", "battery", "service", "screen", "price", "keyboard", "waiter", "room", "delivery", "software"]
SENTENCE = (
    "The camera, the battery, the service, the screen, the price, the keyboard, the waiter, the room and the delivery were "
    "good, but the software was a disappointment."
)
# Twenty tokens, special ones included, as the server's metrics confirm.
TWENTY = "The camera is better than I had hoped , but the battery broke after two weeks ."


def say(text):
    print(text, file=sys.stderr, flush=True)


def seconds(full):
    return max(0.3, full * SCALE)


def on_cores(cores):
    return ["taskset", "-c", ",".join(map(str, cores))] if PINNED else []


class Server:
    """A server on a free port with a new data folder, for the `with` block."""

    def __init__(self, **settings):
        self.data = tempfile.mkdtemp(prefix="sentor-goals-")
        self.environment = os.environ | {"SENTOR_CACHE_BYTES": "0", "SENTOR_DEDUPLICATE": "false"} | settings
        self.key = self.new_key("goals")
        self.metrics_key = self.new_key("metrics", "--scope", "metrics")

    def new_key(self, name, *options):
        command = [SENTOR, "keys", "create", name, "--data-dir", self.data, *options]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def __enter__(self):
        self.log = open(pathlib.Path(self.data) / "log", "w")
        command = [*on_cores(SERVER_CORES), SENTOR, "serve", "--listen", "127.0.0.1:0", "--data-dir", self.data]
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        self.ready_seconds = time.monotonic() - self.started
        found = re.match(r"listening on (http://127\.0\.0\.1:(\d+))", line)
        if not found:
            self.process.wait()
            raise SystemExit(f"the server did not start: {pathlib.Path(self.log.name).read_text()}")
        self.url, self.port = found[1], int(found[2])
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.data, ignore_errors=True)

    def settle(self):
        """Waits until the server has used no processor time for a moment."""
        last, since, until = None, time.monotonic(), time.monotonic() + 20
        while time.monotonic() < until:
            used = sum(self.metrics("sentor_thread_cpu_seconds_total").values())
            if last is None or used - last > 0.01:
                last, since = used, time.monotonic()
            if time.monotonic() - since > 0.6:
                return
            time.sleep(0.1)

    def metrics(self, name):
        """The values of one metric, by their labels."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", "/metrics", headers={"x-api-key": self.metrics_key})
        response = connection.getresponse()
        text = response.read().decode()
        if response.status != 200:
            raise SystemExit(f"/metrics answers {response.status}: {text}")
        connection.close()
        found = re.findall(rf"^{name}(\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
        return {labels: float(value) for labels, value in found}

    def counters(self):
        """Reads the counters from which a rate and the used cores follow."""
        names = [
            "sentor_engine_tokens_total", "sentor_engine_padded_tokens_total", "sentor_engine_batches_total",
            "sentor_engine_sequences_total", "sentor_engine_busy_seconds_total", "sentor_documents_total",
        ]
        found = {name: sum(self.metrics(name).values()) for name in names}
        found["threads"] = self.metrics("sentor_thread_cpu_seconds_total")
        found["time"] = time.monotonic()
        return found

    def load(self, *options):
        """Runs the generator, and adds the server's counters."""
        before = self.counters()
        command = [*on_cores(ALL_CORES[-1:]), SENTOR, "bench", "--url", self.url, "--json", *map(str, options)]
        run = subprocess.run(command, env=self.environment | {"SENTOR_API_KEY": self.key}, capture_output=True, text=True)
        if not run.stdout:
            raise SystemExit(f"the generator failed: {run.stderr}")
        one = json.loads(run.stdout)[0]
        after = self.counters()
        grown = {name: after[name] - before[name] for name in before if name not in ("threads", "time")}
        wall = after["time"] - before["time"]
        threads = {re.search('"(.*)"', labels)[1]: (used - before["threads"].get(labels, 0.0)) / wall
                   for labels, used in after["threads"].items()}
        documents = max(1.0, grown["sentor_documents_total"])
        one["engine"] = {
            "tokens_per_document": grown["sentor_engine_tokens_total"] / documents,
            "rows_per_run": grown["sentor_engine_sequences_total"] / max(1.0, grown["sentor_engine_batches_total"]),
            "padding": 1 - grown["sentor_engine_tokens_total"] / max(1.0, grown["sentor_engine_padded_tokens_total"]),
            "busy_cores": grown["sentor_engine_busy_seconds_total"] / wall,
            "cores_by_threads": threads,
        }
        if one["failed"]:
            say(f"  {one['failed']} requests failed; the first: {one['first_failure']}")
        return one


def raw_program():
    """Builds the benchmark `raw`, and returns its path."""
    build = [*CARGO, "bench", "--locked", "--bench", "raw", "--no-run", "--message-format", "json"]
    built = subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = [json.loads(line) for line in built.splitlines() if line.startswith("{")]
    return next(one["executable"] for one in messages if one.get("executable") and one["target"]["name"] == "raw")


class Goals:
    def __init__(self):
        self.rows, self.figures = [], {}
        self._raw = None

    def raw(self, *arguments):
        self._raw = self._raw or raw_program()
        command = [*on_cores(SERVER_CORES), self._raw, *map(str, arguments)]
        return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)

    def note(self, what, goal, figure, met, remark=""):
        self.rows.append({"what": what, "goal": goal, "figure": figure, "met": met, "remark": remark})
        say(f"  {what}: {figure}")

    def throughput(self):
        """Batches of 32 and single documents over the raw rate, in turns, so that noise affects all equally."""
        for language, model in MODELS.items():
            best = self.raw("sweep", "--model", model, "--seconds", seconds(0.4))["best"]
            shape = [f"--{name}={best[name]}" for name in ("sessions", "threads", "rows", "tokens")]
            rounds = []
            with Server() as server:
                server.settle()
                for _ in range(3 if SCALE >= 0.5 else 1):
                    base = ["--language", language, "--warm-up-seconds", seconds(1)]
                    batch = server.load(*base, "--seconds", seconds(5), "--connections", 4, "--documents", 32)
                    raw = self.raw("rate", "--model", model, "--seconds", seconds(4), *shape)["tokens_per_second"]
                    single = server.load(*base, "--seconds", seconds(5), "--connections", 64)
                    rounds.append({"raw_tokens_per_second": raw, "batch": batch, "single": single})
            self.figures[f"throughput_{language}"] = {"raw_best": best, "rounds": rounds}
            for kind, words, goal in (("batch", "batches of 32", 0.90), ("single", "single documents", 0.75)):
                plain, corrected = [], []
                for one in rounds:
                    load = one[kind]
                    tokens = load["documents_per_second"] * load["engine"]["tokens_per_document"]
                    plain.append(tokens / one["raw_tokens_per_second"])
                    # If the generator shares the cores, the raw rate is scaled by the processor time that it left.
                    taken = 0.0 if PINNED else load["generator_cores"] or 0.0
                    corrected.append(plain[-1] * CORES / (CORES - taken))
                last = rounds[-1][kind]
                engine = last["engine"]
                remark = (
                    f"{statistics.median(plain):.2f} with the generator's time; it took {last['generator_cores'] or 0:.2f} "
                    f"cores, http threads {engine['cores_by_threads'].get('http', 0):.2f}, planning "
                    f"{engine['cores_by_threads'].get('planning', 0):.2f}, workers {engine['cores_by_threads'].get('workers', 0):.2f}; "
                    f"{engine['rows_per_run']:.1f} rows a run, {engine['padding']:.0%} padding"
                )
                ratio = statistics.median(corrected)
                self.note(f"{language}: {words} over raw", f">= {goal:.2f}", f"{ratio:.2f}", ratio >= goal, remark)

    def compare(self):
        figures = self.script("compare/compare", seconds(20), warm_up=seconds(3))
        ratio = figures["ratio"]
        remark = f"{figures['sentor']['documents_per_second']:.0f} against {figures['plain']['documents_per_second']:.1f} documents/s"
        self.note("documents/s over the plain server", ">= 50", f"{ratio:.0f}" if ratio else "-", bool(ratio) and ratio >= 50, remark)

    def entities(self):
        """The same sentence with one of its ten entities and with all, in alternating requests."""
        with Server() as server:
            server.settle()
            times = {1: [], 10: []}
            bodies = {count: body(SENTENCE, TEN[:count]) for count in times}
            until = time.monotonic() + seconds(15)
            with Client(server) as client:
                while time.monotonic() < until or len(times[10]) < 10:
                    for count in times:
                        times[count].append(client.post(bodies[count]))
        medians = {count: statistics.median(all_of) * 1000 for count, all_of in times.items()}
        ratio = medians[10] / medians[1]
        self.figures["entities"] = {"median_ms": medians, "ratio": ratio, "requests": len(times[1])}
        remark = f"{medians[1]:.2f} and {medians[10]:.2f} ms, medians of {len(times[1])} requests each"
        self.note("ten entities of a sentence against one", "<= 1.10", f"{ratio:.2f}", ratio <= 1.1, remark)

    def fairness(self):
        figures = self.script("fairness.sh", seconds(30))
        ratio = figures["p99_ratio"]
        remark = f"p99 {figures['alone']['latency_ms']['p99']:.1f} ms alone, {figures['beside']['latency_ms']['p99']:.1f} ms beside"
        self.note("p99 beside 1,000-document batches", "<= 3.0", f"{ratio:.2f}", ratio <= 3, remark)

    def overload(self):
        """With single documents, for which a rejection is relatively most expensive, and with requests of 16."""
        for words, documents in (("single documents", 1), ("requests of 16", 16)):
            figures = self.script("overload.sh", seconds(10), BENCH_DOCUMENTS=documents)
            ratio, plain = figures["goodput_ratio_for_time_left"], figures["goodput_ratio"]
            over = figures["over"]
            remark = f"{plain:.2f} with the generator's time, which took {over['generator_cores'] or 0:.2f} cores; {over['failed']} failed"
            self.note(f"goodput at ten times the capacity, {words}", ">= 0.90", f"{ratio:.2f}", ratio >= 0.9, remark)
            p99 = over["refusal_ms"]["p99"]
            met = p99 < 10 if over["refused"] else None
            self.note(f"p99 of its refusals, {words}", "< 10 ms", f"{p99:.1f} ms", met, f"{over['refused']} refused")

    def idle(self):
        """One connection, one request after another, in turns with runs of the bare session."""
        with Server() as server:
            server.settle()
            request = body(TWENTY, ["camera"])
            with Client(server) as client:
                client.post(request)
                before = server.counters()
                client.post(request)
                after = server.counters()
                tokens = round(after["sentor_engine_tokens_total"] - before["sentor_engine_tokens_total"])
                rounds = []
                for _ in range(3):
                    bare = self.raw("latency", "--tokens", tokens, "--seconds", seconds(2))["median_us"] / 1000
                    until, times = time.monotonic() + seconds(3), []
                    while time.monotonic() < until or len(times) < 10:
                        times.append(client.post(request))
                    rounds.append({"bare_ms": bare, "request_ms": statistics.median(times) * 1000})
        ratio = statistics.median(one["request_ms"] / one["bare_ms"] for one in rounds)
        self.figures["idle"] = {"tokens": tokens, "rounds": rounds, "ratio": ratio}
        remark = f"{tokens} tokens; {rounds[-1]['request_ms']:.2f} ms against {rounds[-1]['bare_ms']:.2f} ms"
        self.note("one idle request over a bare run", "<= 1.5", f"{ratio:.2f}", ratio <= 1.5, remark)

    def memory(self):
        figures = self.script("memory.sh", MEMORY_SECONDS)
        figures.pop("samples")
        highest, slope, error = figures["highest_mib"], figures["slope_mib_per_hour"], figures["slope_error_mib_per_hour"]
        words = f"{figures['seconds']:.0f} s of the hour" if figures["seconds"] < 3600 else "an hour"
        megabytes = highest * 1.048576
        self.note("resident memory, both models", "<= 400 MB", f"{megabytes:.0f} MB", megabytes <= 400, f"over {words}")
        flat = slope - error <= 0
        verdict = flat if figures["seconds"] >= 3600 else None
        remark = f"+- {error:.0f} by noise, over the last {figures['seconds'] / 2:.0f} s; an hour tells"
        self.note("its slope", "zero", f"{slope:+.1f} MiB/h", verdict, remark)

    def cold(self):
        """Time from the start of the process to its ready line, with the files in the page cache and without."""
        found = {"warm": [], "evicted": []}
        for _ in range(5 if SCALE >= 0.5 else 1):
            for kind, all_of in found.items():
                if kind == "evicted":
                    evict()
                with Server() as server:
                    all_of.append(server.ready_seconds)
        self.figures["cold"] = found
        median = {kind: statistics.median(all_of) for kind, all_of in found.items()}
        worst = max(median.values())
        remark = f"median; {median['warm']:.2f} s with the files in memory, {median['evicted']:.2f} s from disk"
        self.note("cold start to ready", "<= 1 s", f"{worst:.2f} s", worst <= 1, remark)

    def script(self, name, length, warm_up=None, **settings):
        """Runs one of the scripts with environment variables, and returns the figures that it writes."""
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            environment = os.environ | {
                "BENCH_SECONDS": f"{length:g}", "BENCH_WARM_UP_SECONDS": f"{warm_up or seconds(2):g}",
                "BENCH_JSON": file.name, "SENTOR": str(SENTOR),
            } | {name: str(value) for name, value in settings.items()}
            run = subprocess.run([ROOT / "benches" / name], cwd=ROOT, env=environment, stdout=sys.stderr)
            if run.returncode:
                raise SystemExit(f"benches/{name} ended with {run.returncode}")
            figures = json.load(open(file.name))
        self.figures[" ".join([name, *map(str, settings.values())])] = figures
        return figures


class Client:
    """One connection that sends prepared bytes, to add as little client time as possible."""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        self.socket = socket.create_connection(("127.0.0.1", self.server.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.head = (
            f"POST /api/predicts?language=en HTTP/1.1\r\nhost: localhost\r\nx-api-key: {self.server.key}\r\n"
            "content-type: application/json\r\ncontent-length: "
        ).encode()
        return self

    def __exit__(self, *_):
        self.socket.close()

    def post(self, body):
        """Seconds until the whole answer has arrived."""
        request = self.head + str(len(body)).encode() + b"\r\n\r\n" + body
        begun = time.perf_counter()
        self.socket.sendall(request)
        answer = self.socket.recv(1 << 20)
        head = answer.find(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", answer[:head], re.IGNORECASE)[1])
        while len(answer) < head + 4 + length:
            answer += self.socket.recv(1 << 20)
        took = time.perf_counter() - begun
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"the server answers {answer.decode(errors='replace')}")
        return took


def body(text, entities):
    return json.dumps({"docs": [{"doc_id": "1", "doc": text, "entities": entities}]}).encode()


def evict():
    """Asks the system to drop the server's files from the page cache."""
    cache = os.environ.get("SENTOR_CACHE_DIR") or pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "sentor"
    files = [SENTOR, *(ROOT / "models").glob("*/*"), *pathlib.Path(cache).glob("onnxruntime-*/*")]
    for path in filter(pathlib.Path.is_file, files):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def machine():
    with open("/proc/cpuinfo") as info:
        text = info.read()
    model = re.search(r"model name\s*: (.*)", text)
    flags = [flag for flag in ("amx_int8", "avx512_vnni", "avx_vnni", "avx2") if re.search(rf"\b{flag}\b", text)]
    return {"processor": model[1] if model else platform.processor(), "flags": flags, "cores": CORES,
            "generator": "on a core of its own" if PINNED else "on the server's cores, its time is measured",
            "load_before": os.getloadavg()[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["throughput", "compare", "entities", "fairness", "overload", "idle", "memory", "cold"]
    parser.add_argument("--only", default=",".join(names), help=f"some of {', '.join(names)}, with commas between")
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "target/goals.json", help="where the figures are written")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if unknown := [name for name in chosen if name not in names]:
        parser.error(f"--only knows {', '.join(names)}, and not {', '.join(unknown)}")
    if not SENTOR.exists():
        raise SystemExit(f"run `make build` first: {SENTOR} is missing")
    goals, begun, found = Goals(), time.monotonic(), machine()
    if {"throughput", "idle"} & set(chosen):
        goals._raw = raw_program()
        begun = time.monotonic()
    for name in names:
        if name in chosen:
            say(f"== {name}")
            getattr(goals, name)()
    minutes = (time.monotonic() - begun) / 60
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    everything = {"machine": found, "minutes": minutes, "scale": SCALE, "goals": goals.rows, "figures": goals.figures}
    arguments.json.write_text(json.dumps(everything, indent=1))
    print(f"{found['processor']} ({', '.join(found['flags'])}), {CORES} cores, generator {found['generator']}; "
          f"load before {found['load_before']:.2f}; {minutes:.1f} minutes" + ("" if SCALE == 1 else f"; scale {SCALE:g}, figures mean little"))
    width = max(len(row["what"]) for row in goals.rows)
    print(f"{'what':{width}}  {'goal':>9}  {'figure':>11}  met")
    for row in goals.rows:
        met = {True: "yes", False: "NO", None: "-"}[row["met"]]
        print(f"{row['what']:{width}}  {row['goal']:>9}  {row['figure']:>11}  {met:3}  {row['remark']}")
    print(f"all figures: {arguments.json}")


if __name__ == "__main__":
    main()
