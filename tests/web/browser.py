"""A Chromium that serves and opens pages for tests, and notes what they ask for."""

import functools
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# The camera of Chromium is a drawn one, and WebGPU runs on the processor.
ARGUMENTS = ["--no-sandbox", "--use-fake-device-for-media-stream"]
SOFTWARE_GPU = [
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
]


class Quiet(SimpleHTTPRequestHandler):
    """Files as `python -m http.server` serves them, and optionally more headers."""

    extra: dict[str, str] = {}

    def log_message(self, *args) -> None:
        pass

    def end_headers(self) -> None:
        for name, value in self.extra.items():
            self.send_header(name, value)
        super().end_headers()


@contextmanager
def served(folder: Path, **headers: str) -> Iterator[str]:
    """Serves a folder, and provides its address."""
    handler = type("Handler", (Quiet,), {"extra": headers})
    server = ThreadingHTTPServer(
        ("localhost", 0), functools.partial(handler, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def chromium() -> Iterator[Callable]:
    """Provides a function that starts headless Chromiums, with more arguments.

    The test is skipped where there is none.
    """
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is missing: make web-test has it"
    )
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium on the PATH: apt-get install chromium")
    with playwright.sync_playwright() as start:
        yield lambda *arguments: start.chromium.launch(
            executable_path=program, args=[*ARGUMENTS, *arguments]
        )
