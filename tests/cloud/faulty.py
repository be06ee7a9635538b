"""A local S3 server, a local emulator of Google Cloud Storage, and faults before them.

Both are other people's programs, in processes of their own. What the package sends goes
through `Faulty`, which breaks chosen requests as networks and stores do.
"""

import contextlib
import http.client
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BUCKET = "box"
# Before the answer: the request is not carried out. After it: it was, but for reads.
FAULTS = ("503", "429", "reset", "timeout", "cut", "slow", "lost")
# Longest silence that the package is set to accept in these tests, and that of a stall.
PATIENCE_SECONDS = 0.6
_STALL_SECONDS = 1.0


class Faulty:
    """A server in front of another one.

    Attributes:
        fault: function from the number of a request, counted from 1, its method and its
            path to one of `FAULTS` or "401", or "" for none.
        requests: (method, path) of every request since the last `reset`.
    """

    def __init__(self, port: int):
        self._behind = port
        self._lock = threading.Lock()
        self.reset()
        handler = type("Handler", (_Handler,), {"faulty": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def reset(self, fault: Callable[[int, str, str], str] | None = None) -> None:
        self.requests: list[tuple[str, str]] = []
        self.fault = fault or (lambda number, method, path: "")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fault_of(self, method: str, path: str) -> str:
        with self._lock:
            self.requests.append((method, path))
            return self.fault(len(self.requests), method, path)

    def forwarded(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        parts = urllib.parse.urlsplit(path)
        query = urllib.parse.parse_qs(parts.query)
        if method == "POST" and query.get("ifGenerationMatch") == ["0"]:
            # The emulator does not know this condition of Google's store.
            with self._lock:
                if self._has_object(parts.path, query, body):
                    error = b'{"error": {"code": 412, "message": "PreconditionFailed"}}'
                    return 412, [("Content-Type", "application/json")], error
                return self._forwarded(method, path, headers, body)
        return self._forwarded(method, path, headers, body)

    def _has_object(self, path: str, query: dict[str, list[str]], body: bytes) -> bool:
        bucket = path.split("/b/")[1].split("/")[0]
        name = query["name"][0] if "name" in query else _name_in(body)
        quoted = urllib.parse.quote(name, safe="")
        object_path = f"/storage/v1/b/{bucket}/o/{quoted}"
        return self._forwarded("GET", object_path, {}, b"")[0] == 200

    def _forwarded(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._behind, timeout=30)
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()


def _name_in(body: bytes) -> str:
    """Reads the name in the JSON part of a multipart upload."""
    import json

    for line in body.split(b"\n"):
        with contextlib.suppress(ValueError):
            if isinstance(values := json.loads(line), dict) and "name" in values:
                return values["name"]
    raise ValueError(f"no name in {body[:300]!r}")


class _Handler(BaseHTTPRequestHandler):
    faulty: Faulty
    protocol_version = "HTTP/1.1"

    def _do(self) -> None:
        body = self._body()
        fault = self.faulty.fault_of(self.command, self.path)
        if fault in ("503", "429"):
            text = "<Error><Code>SlowDown</Code><Message>slow down</Message></Error>"
            return self._answer(int(fault), [], text.encode())
        if fault == "401":
            text = b'{"error": {"code": 401, "message": "Anonymous caller is refused"}}'
            return self._answer(401, [("Content-Type", "application/json")], text)
        if fault == "reset":
            return self._drop()
        if fault == "timeout":
            time.sleep(_STALL_SECONDS)
            return self._drop()
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in ("transfer-encoding", "content-length", "expect")
        }
        status, answered, content = self.faulty.forwarded(
            self.command, self.path, headers, body
        )
        if fault == "lost":
            return self._drop()
        self._answer(status, answered, content, fault)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = _do

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(
        self,
        status: int,
        headers: list[tuple[str, str]],
        content: bytes,
        fault: str = "",
    ) -> None:
        self.send_response_only(status)
        length = len(content)
        for name, value in headers:
            lower = name.lower()
            if lower == "content-length" and self.command == "HEAD":
                length = int(value)
            elif lower not in ("content-length", "connection", "transfer-encoding"):
                # The emulator names itself, for uploads in several requests.
                self.send_header(name, self._of_this(value))
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            return
        with contextlib.suppress(OSError):
            if fault == "cut":
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                return self._drop()
            if fault == "slow":
                step = max(len(content) // 5, 1)
                for start in range(0, len(content), step):
                    self.wfile.write(content[start : start + step])
                    self.wfile.flush()
                    time.sleep(PATIENCE_SECONDS / 4)
                return None
            self.wfile.write(content)

    def _of_this(self, value: str) -> str:
        behind = f"127.0.0.1:{self.faulty._behind}"
        return value.replace(behind, self.faulty.url.removeprefix("http://"))

    def _drop(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""


@contextlib.contextmanager
def serving(scheme: str, folder: Path) -> Iterator[Faulty]:
    """Starts a store with an empty bucket, and a `Faulty` in front of it.

    Args:
        scheme: "s3" or "gs".
        folder: folder for the output of the store.
    """
    port = _free_port()
    arguments = {
        "s3": ["moto.server", "-H", "127.0.0.1", "-p", str(port)],
        "gs": [
            *("gcp_storage_emulator", "start", "--host", "127.0.0.1"),
            *("--port", str(port), "--in-memory", "--default-bucket", BUCKET),
        ],
    }[scheme]
    with (folder / f"{scheme}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait_for(port, process)
        faulty = Faulty(port)
        if scheme == "s3":
            faulty._forwarded("PUT", f"/{BUCKET}", {}, b"")
        try:
            yield faulty
        finally:
            faulty.close()
    finally:
        process.terminate()
        process.wait()


def environment(scheme: str, url: str) -> dict[str, str]:
    """Returns the variables by which the stores' programs find such a server."""
    if scheme == "s3":
        return {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    return {
        "STORAGE_EMULATOR_HOST": url,
        "FSSPEC_GS_TOKEN": "anon",
        "FSSPEC_GCS_TOKEN": "anon",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(port: int, process: subprocess.Popen) -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise RuntimeError(f"the store ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(
            ("127.0.0.1", port), 1
        ):
            return
        time.sleep(0.1)
    raise RuntimeError("the store does not answer")
