"""Peers that hold connections, or keep the server busy, without need. Each attack sends what became of its peers."""

import json
import os
import random
import socket
import ssl
import string
import struct
import subprocess
import tempfile
import threading
import time
from collections import Counter

from bodies import document, docs, filled

# The share of connections that one address may have under default settings; loopback itself has no limit.
SHARE = 500


def every_kind():
    """Whether the server speaks TLS, and the attack, by name."""
    return {
        "silent connections": (False, held(b"")),
        "heads of a byte a second": (False, held(b"POST /api/predicts HTTP/1.1\r\n", drip=b"x-a: 1\r\n")),
        "bodies of a byte a second": (False, held_bodies(1)),
        "bodies that stop before their end": (False, held_bodies(15_000_000, peers=40)),
        "answers that nobody reads": (False, unread(0)),
        "answers read byte by byte": (False, unread(1)),
        "pipelined probes": (False, pipelined(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")),
        "pipelined documents": (False, pipelined(None)),
        "connections that come and go": (False, churn),
        "unknown keys": (False, unknown_keys),
        "refused admin calls": (False, refused_admin_calls),
        "HTTP/2: no window": (True, http2(window=0, cancel=False)),
        "HTTP/2: a window of a byte": (True, http2(window=1, cancel=False)),
        "HTTP/2: streams that are cancelled": (True, http2(window=65_535, cancel=True)),
        "HTTP/2: pings": (True, http2_frames(frame(6, 0, 0, bytes(8)))),
        "HTTP/2: settings": (True, http2_frames(frame(4, 0, 0, b""))),
        "HTTP/2: heads without end": (True, http2_frames(frame(9, 0, 1, b"\x00\x01a\x01b" * 1000), first=frame(1, 0, 1, LIVEZ))),
    }


def certificate():
    """Flags for a server with a certificate of its own."""
    folder = tempfile.mkdtemp(prefix="sentor-attack-tls-")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
               "-subj", "/CN=localhost", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"]
    subprocess.run(command, check=True, capture_output=True)
    return ("--tls-certificate", f"{folder}/cert.pem", "--tls-private-key", f"{folder}/key.pem")


def unverified(*protocols):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def in_parallel(count, act, seconds, results):
    """Runs an act on several threads until it ends or the time does, and sends what they count."""
    seen, end = Counter(), time.monotonic() + seconds

    def go():
        try:
            act(end, seen)
        except OSError as error:
            seen[type(error).__name__] += 1

    threads = [threading.Thread(target=go, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.1, end + 30 - time.monotonic()))
    results.send((seen, 0))


def held(start, drip=b"", peers=SHARE):
    """Peers that send a start and then, once a second, a little more."""

    def attack(server, seconds, results):
        streams = []
        for _ in range(peers):
            stream = connect(server)
            stream.sendall(start)
            stream.setblocking(False)
            streams.append(stream)
        end, closed = time.monotonic() + seconds, set()
        while time.monotonic() < end:
            time.sleep(1)
            for stream in streams:
                try:
                    if drip and stream not in closed:
                        stream.send(drip)
                    if stream not in closed and not stream.recv(4096):
                        closed.add(stream)
                except BlockingIOError:
                    pass
                except OSError:
                    closed.add(stream)
        results.send((Counter({"closed": len(closed), "open": peers - len(closed)}), 0))

    return attack


def held_bodies(size, peers=SHARE):
    """Peers that announce the largest body, send a part, and then a byte a second."""

    def attack(server, seconds, results):
        head = (
            f"POST /api/predicts HTTP/1.1\r\nhost: x\r\nx-api-key: {server.key}\r\ncontent-type: application/json\r\n"
            "content-length: 16000000\r\n\r\n"
        ).encode()

        def act(end, seen):
            with connect(server) as stream:
                try:
                    stream.sendall(head + b" " * size)
                    while time.monotonic() < end:
                        stream.sendall(b" ")
                        time.sleep(1)
                    seen["open"] += 1
                except (BrokenPipeError, ConnectionResetError):
                    seen["closed"] += 1

        in_parallel(peers, act, seconds, results)

    return attack


def unread(per_second, peers=40):
    """Peers that ask for a large answer, and read it slowly or not at all."""
    request = docs(document(filled("A! ", 100_000)))

    def attack(server, seconds, results):
        def act(end, seen):
            stream = socket.socket()
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stream.settimeout(150)
            with stream:
                stream.connect(("127.0.0.1", server.port))
                stream.sendall(request.head(server.key) + request.body)
                first = stream.recv(12)
                seen[first[9:12].decode() or "closed"] += 1
                while time.monotonic() < end:
                    time.sleep(1)
                    if per_second and not stream.recv(per_second):
                        seen["closed later"] += 1
                        return

        in_parallel(peers, act, seconds, results)

    return attack


def pipelined(request, peers=8):
    """Peers that ask on and on, and never read."""

    def attack(server, seconds, results):
        one = request
        if one is None:
            question = docs(document("The camera is superb, but the battery is a joke.", ["camera"]))
            one = question.head(server.key) + question.body

        def act(end, seen):
            with connect(server) as stream:
                stream.settimeout(1)
                while time.monotonic() < end:
                    try:
                        stream.sendall(one * 1000)
                        seen["thousands sent"] += 1
                    except TimeoutError:
                        pass

        in_parallel(peers, act, seconds, results)

    return attack


def churn(server, seconds, results):
    def act(end, seen):
        while time.monotonic() < end:
            connect(server).close()
            seen["connections"] += 1

    in_parallel(4, act, seconds, results)


# CRC-32 as the keys end in it; a key with a wrong checksum is refused without a look-up.
def unknown_keys(server, seconds, results):
    known = server.key

    def act(end, seen):
        letters = string.ascii_letters + string.digits
        while time.monotonic() < end:
            with connect(server) as stream:
                for _ in range(100):
                    key = known[:12] + "".join(random.choices(letters, k=len(known) - 12))
                    head = docs(document("Great.")).head(key)
                    stream.sendall(head.replace(b"content-length: 54", b"content-length: 0"))
                    answer = stream.recv(65536)
                    if not answer:
                        break
                    seen[answer[9:12].decode()] += 1

    in_parallel(4, act, seconds, results)


def refused_admin_calls(server, seconds, results):
    before = os.path.getsize(f"{server.data}/audit.jsonl")

    def act(end, seen):
        request = f"GET /api/admin/keys HTTP/1.1\r\nhost: x\r\nx-api-key: {server.key}\r\n\r\n".encode()
        with connect(server) as stream:
            while time.monotonic() < end:
                stream.sendall(request)
                seen[stream.recv(65536)[9:12].decode()] += 1

    in_parallel(4, act, seconds, results)
    grown = os.path.getsize(f"{server.data}/audit.jsonl") - before
    print(f"(the audit file grew by {grown} bytes)")


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header, written out: a name and a value of fewer than 127 bytes."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


# GET, https, /livez, x.
LIVEZ = b"\x82\x87" + literal(b":path", b"/livez") + literal(b":authority", b"x")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def http2(window, cancel, peers=20):
    """Peers that open a hundred streams, each with a question, and take or cancel what comes."""
    body = docs(document(filled("A! ", 20_000))).body

    def attack(server, seconds, results):
        head = b"\x83\x87" + b"".join(literal(name, value) for name, value in (
            (b":path", b"/api/predicts"), (b":authority", b"x"), (b"x-api-key", server.key.encode()),
            (b"content-type", b"application/json")))
        settings = frame(4, 0, 0, struct.pack(">HI", 4, window))

        def act(end, seen):
            while time.monotonic() < end:
                with unverified("h2").wrap_socket(connect(server)) as stream:
                    seen["connections"] += 1
                    try:
                        stream.sendall(PREFACE + settings)
                        for number in range(1, 10**6, 2):
                            if time.monotonic() >= end or (number > 199 and not cancel):
                                break
                            stream.sendall(frame(1, 4, number, head))
                            if cancel:
                                stream.sendall(frame(3, 0, number, struct.pack(">I", 8)))
                            else:
                                for start in range(0, len(body), 16_000):
                                    part = body[start:start + 16_000]
                                    stream.sendall(frame(0, start + 16_000 >= len(body), number, part))
                            seen["streams"] += 1
                        stream.settimeout(max(1, end - time.monotonic()))
                        while stream.recv(1 << 16):
                            pass
                        seen["closed by the server"] += 1
                    except (TimeoutError, ssl.SSLError):
                        seen["open to the end"] += 1
                    except OSError:
                        seen["closed by the server"] += 1

        in_parallel(peers, act, seconds, results)

    return attack


def http2_frames(one, first=b"", peers=8):
    """Peers that send the same frame without end."""

    def attack(server, seconds, results):
        def act(end, seen):
            while time.monotonic() < end:
                try:
                    with unverified("h2").wrap_socket(connect(server)) as stream:
                        stream.settimeout(1)
                        stream.sendall(PREFACE + frame(4, 0, 0, b"") + first)
                        while time.monotonic() < end:
                            stream.sendall(one * 100)
                            seen["hundreds sent"] += 1
                except (TimeoutError, ssl.SSLError, OSError):
                    seen["closed by the server"] += 1

        in_parallel(peers, act, seconds, results)

    return attack
