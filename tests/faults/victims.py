"""Scripts that are killed at a chosen moment.

This file runs as a program in a fork of `script_server`, and runs such a script there.
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

# The folder of script_server is not on the path when this file runs as a program.
if TYPE_CHECKING:
    from script_server import ScriptServer

# Audit events that Python raises before it touches a file.
_EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir")


@dataclass(frozen=True)
class Moment:
    """Moment of a kill, with a signal that no process can catch.

    Attributes:
        watched: part of the paths whose uses are counted.
        event: number of the use, counted from 1.
        delay: seconds from that use to the kill; 0 to kill right before the use.
    """

    watched: str
    event: int
    delay: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """End of a process: its exit code (-9 when killed), and all of its output."""

    code: int
    output: str
    num_events: int


def run_victim(
    scripts: "ScriptServer",
    script: str,
    *arguments: object,
    kill: Moment | None = None,
    watched: str = "\0",
    signal_number: int = signal.SIGKILL,
) -> Outcome:
    """Runs a script to its end, or to the moment when it is killed.

    Args:
        scripts: server that runs the script.
        script: name of the script, without .py.
        arguments: arguments of the command line.
        kill: moment of the kill, if any.
        watched: without `kill`, part of the paths whose uses are counted.
        signal_number: signal to send at the moment of `kill`.
    """
    moment = kill or Moment(watched, 0)
    with tempfile.NamedTemporaryFile() as events:
        order = json.dumps([vars(moment), int(signal_number), events.name])
        words = (Path(__file__), order, script, *arguments)
        outcome = scripts.run(*words, code=None, combined=True)
        return Outcome(outcome.code, outcome.stdout, len(events.read()))


def _count_events(moment: Moment, signal_number: int, counter: int) -> None:
    """Writes a byte to `counter` for each watched event, and kills at the moment."""
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
            os.kill(os.getpid(), signal_number)

    def die_later():
        time.sleep(moment.delay)
        os.kill(os.getpid(), signal_number)

    sys.addaudithook(hook)


def main() -> None:
    moment, signal_number, events = json.loads(sys.argv[1])
    path = cli.SCRIPTS / f"{sys.argv[2]}.py"
    sys.argv = [str(path), *sys.argv[3:]]
    sys.path[0] = str(path.parent)
    _count_events(Moment(**moment), signal_number, os.open(events, os.O_WRONLY))
    runpy.run_path(str(path), run_name="__main__")


if __name__ == "__main__":
    main()
