"""Scripts in processes that are killed at a chosen moment.

A child is forked from a process that has imported TensorFlow but has not started it, so
that forty starts take no longer than their work. Run as a program, this file is that
process.
"""

import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
# What Python tells before it touches a file.
_EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir")


@dataclass(frozen=True)
class Moment:
    """When a process is killed, with a signal that nothing can catch.

    Attributes:
        watched: part of the paths whose use is counted.
        event: the number of the use, from 1 on.
        delay: seconds from there on; 0 for right before it.
    """

    watched: str
    event: int
    delay: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """How a process ended: its exit code (-9: killed), and all that it said."""

    code: int
    output: str
    num_events: int


class Victims:
    """Runs scripts/NAME.py as `run` says; use as a context."""

    def __init__(self, folder: Path):
        self._folder = folder
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env={**environment, "TF_CPP_MIN_LOG_LEVEL": "2"},
        )

    def run(
        self,
        script: str,
        *arguments: object,
        kill: Moment | None = None,
        watched: str = "\0",
        number: int = signal.SIGKILL,
    ) -> Outcome:
        """Runs a script to its end, or to the moment when it is killed.

        Args:
            script: its name, without .py.
            arguments: of the command line.
            kill: when to kill it.
            watched: without `kill`, part of the paths whose use is counted.
            number: another signal to send in the moment of `kill`.
        """
        moment = kill or Moment(watched, 0)
        words = [script, *map(str, arguments)]
        order = {"words": words, "moment": vars(moment), "number": number}
        assert self._process.stdin and self._process.stdout
        print(json.dumps(order), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, "the process that forks the victims has ended"
        output = (self._folder / "output.txt").read_text(errors="replace")
        events = (self._folder / "events.txt").read_text()
        return Outcome(json.loads(answer), output, len(events))

    def __enter__(self) -> "Victims":
        return self

    def __exit__(self, *error) -> None:
        self._process.communicate()  # the end of its input ends it


def _count_events(moment: Moment, number: int, counter: int) -> None:
    num_events = 0

    def hook(event, arguments):
        nonlocal num_events
        if event not in _EVENTS:
            return
        if not any(moment.watched in str(path) for path in arguments[:2]):
            return
        num_events += 1
        os.write(counter, b".")
        if num_events != moment.event:
            return
        if moment.delay:
            threading.Thread(target=die_later, daemon=True).start()
        else:
            os.kill(os.getpid(), number)

    def die_later():
        time.sleep(moment.delay)
        os.kill(os.getpid(), number)

    sys.addaudithook(hook)


def _child(order: dict, folder: Path) -> None:
    script, *arguments = order["words"]
    output = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    counter = os.open(folder / "events.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    _count_events(Moment(**order["moment"]), order["number"], counter)
    path = REPOSITORY / "scripts" / f"{script}.py"
    sys.argv = [str(path), *arguments]
    runpy.run_path(str(path), run_name="__main__")


def main() -> None:
    import tensorflow  # noqa: F401

    import gcnet_tf.export  # noqa: F401
    import gcnet_tf.training  # noqa: F401

    for line in sys.stdin:
        child = os.fork()
        if not child:
            try:
                _child(json.loads(line), Path(sys.argv[1]))
            except SystemExit as end:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(end.code or 0)
            except BaseException:
                import traceback

                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
