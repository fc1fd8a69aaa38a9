"""Starts the real server on a free port, and makes keys for it."""

import json
import subprocess
import tempfile
import threading

# Loading the models takes about a second; a busy machine may take many times that.
START_SECONDS = 120
STOP_SECONDS = 30


class Server:
    """A running `sentor serve` that logs a lot; the log is shown if it does not start."""

    def __init__(self, program, data, *flags):
        self.command = [program, "serve", "--listen", "127.0.0.1:0", "--data-dir", data, "--log-level", "debug", *flags]
        self.url = None

    def __enter__(self):
        self.log_file = tempfile.TemporaryFile(mode="w+", encoding="utf-8")
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log_file, text=True
        )
        deadline = threading.Timer(START_SECONDS, self.process.kill)
        deadline.start()
        line = self.process.stdout.readline()
        deadline.cancel()
        if not line.startswith("listening on http://"):
            self.process.kill()
            self.process.wait()
            raise RuntimeError(f"the server did not start; it printed {line!r} and logged\n{self.log()}")
        self.url = line.split()[2]
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.process.stdout.close()

    def is_running(self):
        return self.process.poll() is None

    def log(self):
        """The log so far."""
        self.log_file.seek(0)
        return self.log_file.read()


def create_key(program, data, *flags):
    """A new key with its record; the key itself is under "key"."""
    command = [program, "keys", "create", "client test", "--json", "--data-dir", data, *flags]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode != 0:
        raise RuntimeError(f"no key was made: {made.stderr.strip()}")
    return json.loads(made.stdout)
