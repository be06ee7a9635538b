"""Scripts in processes of their own that take no time to start.

Importing TensorFlow takes seconds, longer than most scripts work in a test. So there is
one process that has imported it, and has not started it; each script runs in a fork of
that process. Run as a program, this file is it.

A fork is like `python scripts/NAME.py` but for three things. Variables that Python and
TensorFlow read while they are loaded come too late. The order of a set is the same in
all forks. Memory is not freed object by object at the end, which takes a while.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

REPOSITORY = Path(__file__).resolve().parents[1]
# Not onnxruntime: it starts a thread, which a fork does not have but waits for.
PRELOADED = ("tensorflow", "gcnet_tf.training", "gcnet_tf.export.run")
# Of a message, in bytes; the longest part is the environment.
_LONGEST = 2**20


@dataclass(frozen=True)
class Outcome:
    """How a script ended.

    Attributes:
        code: its exit code; of one that a signal ended, the negative number of that.
        stdout: what it printed.
        stderr: likewise; with `combined`, that is in `stdout` as well, and this is "".
    """

    code: int
    stdout: str
    stderr: str


class Script:
    """A script that runs, much like a `subprocess.Popen`; as a context, not longer."""

    def __init__(self, server: "ScriptServer", name: str, files: Sequence[Path]):
        self._server = server
        self._name = name
        self._files = files
        self.pid: int | None = None
        self.code: int | None = None

    @property
    def stdout(self) -> str:
        """Reads what it has printed until now."""
        return self._files[0].read_text(errors="replace")

    def poll(self) -> int | None:
        """Returns its exit code, or None while it runs."""
        while self.code is None and self._server.listen(timeout=0):
            pass
        return self.code

    def wait(self, timeout: float | None = None) -> Outcome:
        """Waits for its end, at most for so many seconds.

        Raises:
            subprocess.TimeoutExpired: when it still runs.
        """
        deadline = time.monotonic() + (timeout or 0)
        while self.code is None:
            left = None if timeout is None else max(0, deadline - time.monotonic())
            if not self._server.listen(left):
                raise subprocess.TimeoutExpired(self._name, timeout or 0)
        stderr = "".join(p.read_text(errors="replace") for p in self._files[1:])
        return Outcome(self.code, self.stdout, stderr)

    def send_signal(self, number: int) -> None:
        """Sends a signal; nothing happens when it has ended."""
        self._server.send({"pid": self.pid, "signal": number})

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> "Script":
        return self

    def __exit__(self, *error: object) -> None:
        if self.poll() is None:
            self.kill()
            self.wait()


class ScriptServer:
    """Runs scripts; use as a context, at whose end all of them end, too."""

    def __init__(self, folder: Path, preloaded: Sequence[str] = PRELOADED):
        """Starts the process whose forks become the scripts.

        Args:
            folder: gets a file or two for each script, with what it says.
            preloaded: the modules that it imports once and for all.
        """
        self._folder = folder
        self._scripts: list[Script] = []
        self._control, other = socket.socketpair(type=socket.SOCK_SEQPACKET)
        end = str(other.fileno())
        with other, open(folder / "server.txt", "wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, __file__, end, *preloaded],
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                cwd=REPOSITORY,
                env={**_environment(), "TF_CPP_MIN_LOG_LEVEL": "2"},
                # Ctrl-C is for the tests: they end it.
                start_new_session=True,
            )

    def start(
        self,
        script: str | Path,
        *arguments: object,
        cwd: Path = REPOSITORY,
        environment: dict[str, str | None] | None = None,
        combined: bool = False,
    ) -> Script:
        """Starts a script.

        Args:
            script: the name of one, without .py, or the file of another program.
            arguments: of its command line.
            cwd: where it runs.
            environment: what differs from the variables here; None is for one less.
            combined: stderr goes to stdout.
        """
        path = script if isinstance(script, Path) else f"scripts/{script}.py"
        changed = {**_environment(), **(environment or {})}
        number = len(self._scripts)
        names = (f"{number}.out",) if combined else (f"{number}.out", f"{number}.err")
        files = [self._folder / name for name in names]
        for file in files:
            file.touch()
        order = {
            "number": number,
            "script": str(REPOSITORY / path),
            "arguments": [str(each) for each in arguments],
            "cwd": str(cwd),
            "environment": {k: v for k, v in changed.items() if v is not None},
            "outputs": [str(files[0]), str(files[-1])],
        }
        started = Script(self, str(script), files)
        self._scripts.append(started)
        self.send(order)
        while started.pid is None:
            self.listen(timeout=None)
        return started

    def run(self, script: str | Path, *arguments, code: int | None = 0, **options):
        """Runs a script to its end, which is to have this exit code; None for any.

        Takes what `start` takes, and returns the `Outcome`.
        """
        with self.start(script, *arguments, **options) as started:
            outcome = started.wait()
        if code is not None:
            said = outcome.stdout + outcome.stderr
            assert outcome.code == code, f"{script}: {outcome.code}\n{said[-3000:]}"
            assert "Traceback" not in said, said
        return outcome

    def send(self, message: dict) -> None:
        """Sends a message to the process."""
        try:
            self._control.send(json.dumps(message).encode())
        except ConnectionError:
            pass  # `listen` says what became of it

    def listen(self, timeout: float | None) -> bool:
        """Takes what the process says next; False when that takes too long."""
        if not select.select([self._control], [], [], timeout)[0]:
            return False
        try:
            message = self._control.recv(_LONGEST)
        except ConnectionError:
            message = b""
        if not message:
            said = (self._folder / "server.txt").read_text(errors="replace")
            raise RuntimeError(f"The process that forks scripts has ended:\n{said}")
        news = json.loads(message)
        script = self._scripts[news["number"]]
        script.pid, script.code = news["pid"], news["code"]
        return True

    def close(self) -> None:
        """Ends the process, and with it all scripts that still run."""
        self._control.close()
        self._process.wait()

    def __enter__(self) -> "ScriptServer":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _environment() -> dict[str, str]:
    """Copies the variables here, for the package that is beside the tests."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def _serve(control: socket.socket) -> dict | None:
    """Forks until the other side is gone; in a fork, returns what it is to run.

    No thread waits for the forks, because a process with threads must not fork.
    """
    awake, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    running: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control, awake], [], [])
        if awake in ready:
            os.read(awake, 1024)
            for pid in list(running):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    code = os.waitstatus_to_exitcode(status)
                    _tell(control, running.pop(pid), pid, code)
        if control not in ready:
            continue
        message = control.recv(_LONGEST)
        if not message:
            break
        order = json.loads(message)
        if "signal" in order:
            if order["pid"] in running:
                os.kill(order["pid"], order["signal"])
            continue
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            control.close()
            os.close(awake)
            os.close(wake)
            return order
        running[pid] = order["number"]
        # Here as well, for it may be killed before it comes to that itself.
        with suppress(OSError):
            os.setpgid(pid, pid)
        _tell(control, order["number"], pid, None)
    for pid in running:
        os.killpg(pid, signal.SIGKILL)
    return None


def _tell(control: socket.socket, number: int, pid: int, code: int | None) -> None:
    # A client that is gone is noticed where orders come from.
    with suppress(OSError):
        control.send(json.dumps({"number": number, "pid": pid, "code": code}).encode())


def _become(order: dict, added: dict[str, str]) -> None:
    """Runs a script as if this process had been started with it."""
    os.setpgid(0, 0)
    for number, name in enumerate(order["outputs"], start=1):
        file = os.open(name, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    # A shell that runs the tests in the background has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update({**added, **order["environment"]})
    os.chdir(order["cwd"])
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # else all forks draw the same numbers
    sys.argv = [order["script"], *order["arguments"]]
    sys.path[0] = str(Path(order["script"]).parent)
    runpy.run_path(order["script"], run_name="__main__")


def _end(order: dict, added: dict[str, str]) -> NoReturn:
    """Runs a script, and ends as Python does but for freeing all memory.

    Args:
        order: see `ScriptServer.start`.
        added: the variables that imported modules have set, for each script as well.
    """
    code: object = 0
    interrupted = False
    try:
        _become(order, added)
    except SystemExit as end:
        code = end.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException as error:  # noqa: B036 the child ends, as a script would
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
        interrupted = isinstance(error, KeyboardInterrupt)
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if interrupted:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(int(code) & 0xFF)


def main() -> None:
    before = dict(os.environ)
    for name in sys.argv[2:]:
        importlib.import_module(name)
    # Their memory stays shared: forks do not look through it for garbage.
    gc.collect()
    gc.freeze()
    added = {k: v for k, v in os.environ.items() if k not in before}
    order = _serve(socket.socket(fileno=int(sys.argv[1])))
    if order is not None:
        _end(order, added)


if __name__ == "__main__":
    main()
