"""Server of scripts, which run in processes that take no time to start.

Importing TensorFlow takes seconds, longer than most scripts run in a test. Therefore
one process imports TensorFlow without starting it, and each script runs in a fork of
that process. Run as a program, this file is that process.

A fork differs from `python scripts/NAME.py` in three ways. Variables that Python and
TensorFlow read while they are loaded come too late. The order of a set is the same in
all forks. Memory is not freed object by object at the end, because that takes a while.
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
# onnxruntime is missing here, because it starts a thread. A fork does not have the
# thread, but waits for it.
PRELOADED = ("tensorflow", "gcnet_tf.training", "gcnet_tf.export.run")
# Largest size of a message in bytes; the longest part is the environment.
_LONGEST = 2**20


@dataclass(frozen=True)
class Outcome:
    """End of a script, and its output.

    Attributes:
        code: exit code; after a signal the negative number of the signal.
        stdout: standard output.
        stderr: standard error; "" with `combined`, which sends it to `stdout`.
    """

    code: int
    stdout: str
    stderr: str


class Script:
    """A script that runs, much like `subprocess.Popen`; a context, which kills it."""

    def __init__(self, server: "ScriptServer", name: str, files: Sequence[Path]):
        self._server = server
        self._name = name
        self._files = files
        self.pid: int | None = None
        self.code: int | None = None

    @property
    def stdout(self) -> str:
        """Output of the script until now."""
        return self._files[0].read_text(errors="replace")

    def poll(self) -> int | None:
        """Returns the exit code, or None while the script runs."""
        while self.code is None and self._server.listen(timeout=0):
            pass
        return self.code

    def wait(self, timeout: float | None = None) -> Outcome:
        """Waits for the end of the script.

        Args:
            timeout: seconds to wait at most; None for no limit.

        Raises:
            subprocess.TimeoutExpired: when the script still runs.
        """
        deadline = time.monotonic() + (timeout or 0)
        while self.code is None:
            left = None if timeout is None else max(0, deadline - time.monotonic())
            if not self._server.listen(left):
                raise subprocess.TimeoutExpired(self._name, timeout or 0)
        stderr = "".join(p.read_text(errors="replace") for p in self._files[1:])
        return Outcome(self.code, self.stdout, stderr)

    def send_signal(self, signal_number: int) -> None:
        """Sends a signal; does nothing when the script has ended."""
        self._server.send({"pid": self.pid, "signal": signal_number})

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
    """Server of scripts; a context at whose end all scripts end as well."""

    def __init__(self, folder: Path, preloaded: Sequence[str] = PRELOADED):
        """Starts the process whose forks become the scripts.

        Args:
            folder: folder for the files with the scripts' output.
            preloaded: modules that the process imports, once for all scripts.
        """
        self._folder = folder
        self._scripts: list[Script] = []
        self._control, far_end = socket.socketpair(type=socket.SOCK_SEQPACKET)
        descriptor = far_end.fileno()
        with far_end, open(folder / "server.txt", "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(descriptor), *preloaded],
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=REPOSITORY,
                env={**_environment(), "TF_CPP_MIN_LOG_LEVEL": "2"},
                # Ctrl-C reaches only the tests, which end this process.
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
            script: name of a script without .py, or the file of another program.
            arguments: arguments of its command line.
            cwd: working directory of the script.
            environment: variables that differ from those here; None removes one.
            combined: whether stderr goes to stdout.
        """
        path = script if isinstance(script, Path) else f"scripts/{script}.py"
        changed = {**_environment(), **(environment or {})}
        index = len(self._scripts)
        names = (f"{index}.out",) if combined else (f"{index}.out", f"{index}.err")
        files = [self._folder / name for name in names]
        for file in files:
            file.touch()
        order = {
            "index": index,
            "script": str(REPOSITORY / path),
            "arguments": [str(argument) for argument in arguments],
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
        """Runs a script to its end, checks its exit code, and returns the `Outcome`.

        Args:
            script, arguments, options: see `start`.
            code: exit code that the script must have; None for any code.
        """
        with self.start(script, *arguments, **options) as started:
            outcome = started.wait()
        if code is not None:
            output = outcome.stdout + outcome.stderr
            message = f"{script}: {outcome.code}\n{output[-3000:]}"
            assert outcome.code == code, message
            assert "Traceback" not in output, output
        return outcome

    def send(self, message: dict) -> None:
        """Sends a message to the process."""
        try:
            self._control.send(json.dumps(message).encode())
        except ConnectionError:
            # `listen` reports that the process has ended.
            pass

    def listen(self, timeout: float | None) -> bool:
        """Waits for the process's next message; returns False after the timeout."""
        if not select.select([self._control], [], [], timeout)[0]:
            return False
        try:
            message = self._control.recv(_LONGEST)
        except ConnectionError:
            message = b""
        if not message:
            log = (self._folder / "server.txt").read_text(errors="replace")
            raise RuntimeError(f"The process that forks scripts has ended:\n{log}")
        report = json.loads(message)
        script = self._scripts[report["index"]]
        script.pid, script.code = report["pid"], report["code"]
        return True

    def close(self) -> None:
        """Ends the process and all scripts that still run."""
        self._control.close()
        self._process.wait()

    def __enter__(self) -> "ScriptServer":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _environment() -> dict[str, str]:
    """Returns the variables here, with a path to the package beside the tests."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def _serve(control: socket.socket) -> dict | None:
    """Forks for each order until the other side is gone.

    No thread waits for the forks, because a process with threads must not fork.

    Returns:
        the order in a fork, which has to run it; None in the server at the end.
    """
    awake, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda signal_number, frame: None)
    running: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control, awake], [], [])
        if awake in ready:
            os.read(awake, 1024)
            for pid in list(running):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    code = os.waitstatus_to_exitcode(status)
                    _report(control, running.pop(pid), pid, code)
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
        running[pid] = order["index"]
        # The fork does this, too, but may be killed before it comes to that.
        with suppress(OSError):
            os.setpgid(pid, pid)
        _report(control, order["index"], pid, None)
    for pid in running:
        os.killpg(pid, signal.SIGKILL)
    return None


def _report(control: socket.socket, index: int, pid: int, code: int | None) -> None:
    """Tells the other side that a script has started, or ended with a code."""
    # `_serve` notices a client that is gone when it waits for orders.
    with suppress(OSError):
        control.send(json.dumps({"index": index, "pid": pid, "code": code}).encode())


def _become(order: dict, added: dict[str, str]) -> None:
    """Runs a script as if this process had been started with it."""
    os.setpgid(0, 0)
    for descriptor, name in enumerate(order["outputs"], start=1):
        file = os.open(name, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
    # A shell that runs the tests in the background makes them ignore this signal.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update({**added, **order["environment"]})
    os.chdir(order["cwd"])
    if "numpy" in sys.modules:
        # Without a new seed all forks would draw the same numbers.
        sys.modules["numpy"].random.seed()
    sys.argv = [order["script"], *order["arguments"]]
    sys.path[0] = str(Path(order["script"]).parent)
    runpy.run_path(order["script"], run_name="__main__")


def _end(order: dict, added: dict[str, str]) -> NoReturn:
    """Runs a script, and ends as Python does, but without freeing all memory.

    Args:
        order: see `ScriptServer.start`.
        added: variables that the imported modules have set, which each script gets.
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
    # Forks do not search the memory of modules for garbage, so that it stays shared.
    gc.collect()
    gc.freeze()
    added = {k: v for k, v in os.environ.items() if k not in before}
    order = _serve(socket.socket(fileno=int(sys.argv[1])))
    if order is not None:
        _end(order, added)


if __name__ == "__main__":
    main()
