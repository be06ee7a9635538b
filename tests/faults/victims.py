"""Scripts that are killed at a chosen moment.

Run as a program, in a fork of `script_server`, this file is such a script.
"""

import json
import os
import runpy
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gcnet_tf.commands import cli

if TYPE_CHECKING:  # the program is not beside it
    from script_server import ScriptServer

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


def run_victim(
    scripts: "ScriptServer",
    script: str,
    *arguments: object,
    kill: Moment | None = None,
    watched: str = "\0",
    number: int = signal.SIGKILL,
) -> Outcome:
    """Runs a script to its end, or to the moment when it is killed.

    Args:
        scripts: runs it.
        script: its name, without .py.
        arguments: of the command line.
        kill: when to kill it.
        watched: without `kill`, part of the paths whose use is counted.
        number: another signal to send in the moment of `kill`.
    """
    moment = kill or Moment(watched, 0)
    with tempfile.NamedTemporaryFile() as events:
        order = json.dumps([vars(moment), int(number), events.name])
        words = (Path(__file__), order, script, *arguments)
        outcome = scripts.run(*words, code=None, combined=True)
        return Outcome(outcome.code, outcome.stdout, len(events.read()))


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


def main() -> None:
    moment, number, events = json.loads(sys.argv[1])
    path = cli.SCRIPTS / f"{sys.argv[2]}.py"
    sys.argv = [str(path), *sys.argv[3:]]
    sys.path[0] = str(path.parent)
    _count_events(Moment(**moment), number, os.open(events, os.O_WRONLY))
    runpy.run_path(str(path), run_name="__main__")


if __name__ == "__main__":
    main()
