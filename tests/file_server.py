"""Local HTTP server of a few files, with the faults that servers have."""

import contextlib
import hashlib
import re
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FileServer:
    """Server of `files` while its `with` block runs; fields may change meanwhile.

    Attributes:
        files: content by path, for example {"/a.pth": b"…"}; other paths answer 404.
        status: status of every answer, instead of the file; None for the file.
        ranges: whether to honour Range.
        if_range: whether to honour If-Range; else the end of a changed file follows the
            beginning of the old one.
        etag: whether to send an ETag, a hash of the content.
        modified: value of Last-Modified, if any.
        send_length: whether to send Content-Length.
        cut_after: number of bytes after which a cut answer ends.
        cuts: number of answers to cut.
        requests: (path, Range header or None) of every request so far.
        passwords: Authorization header, or None, of every request so far.
    """

    files: dict[str, bytes]
    status: int | None = None
    ranges: bool = True
    if_range: bool = True
    etag: bool = True
    modified: str | None = None
    send_length: bool = True
    cut_after: int = 0
    cuts: int = 0

    def __enter__(self) -> "FileServer":
        self.requests: list[tuple[str, str | None]] = []
        self.passwords: list[str | None] = []
        handler = type("Handler", (_Handler,), {"files": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        # A short poll, because leaving the block waits for one.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{path}"


class _Handler(BaseHTTPRequestHandler):
    files: FileServer

    def do_GET(self) -> None:
        files = self.files
        files.requests.append((self.path, self.headers["Range"]))
        files.passwords.append(self.headers["Authorization"])
        content = files.files.get(self.path)
        if files.status or content is None:
            self.send_error(files.status or 404)
            return
        headers = {}
        if files.etag:
            headers["ETag"] = f'"{hashlib.md5(content).hexdigest()}"'
        if files.modified:
            headers["Last-Modified"] = files.modified
        status, start = 200, self._start(headers)
        if start >= len(content) > 0:
            self.send_error(416)
            return
        if start:
            status = 206
            last = len(content) - 1
            headers["Content-Range"] = f"bytes {start}-{last}/{len(content)}"
        if files.send_length:
            headers["Content-Length"] = str(len(content) - start)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self._send(content[start:])

    def _start(self, headers: dict[str, str]) -> int:
        """Returns the index of the first byte to send."""
        match = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        condition = self.headers["If-Range"]
        if not match or not self.files.ranges:
            return 0
        if self.files.if_range and condition and condition not in headers.values():
            return 0
        return int(match[1])

    def _send(self, content: bytes) -> None:
        if self.files.cuts:
            self.files.cuts -= 1
            content = content[: self.files.cut_after]
        # The client may have closed the connection when it knew enough.
        with contextlib.suppress(ConnectionError):
            self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        pass
