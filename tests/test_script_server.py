"""The server of scripts: scripts run as in processes that were started for them."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from script_server import REPOSITORY, ScriptServer

# Waits for a signal, and prints that it waits.
WAITING = "import threading; print('waits', flush=True); threading.Event().wait()"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Server that imports nothing, and therefore starts at once."""
    with ScriptServer(tmp_path_factory.mktemp("server"), preloaded=()) as server:
        yield server


@pytest.fixture
def program(tmp_path):
    """Function that writes a program and returns its file."""

    def write(text):
        path = tmp_path / "program.py"
        path.write_text(text)
        return path

    return write


def wait_for(condition):
    """Waits until a condition is true, at most for a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)


@pytest.fixture
def ctrl_c():
    """Lets Ctrl-C reach the processes that a test starts.

    A shell makes what it runs in the background ignore it, and processes inherit that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_arguments_and_surroundings(server, program, tmp_path, monkeypatch):
    text = """
    import json, os, signal, sys
    facts = {
        "main": [__name__, sys.modules["__main__"].__file__],
        "arguments": sys.argv,
        "imports from": sys.path[0],
        "in": os.getcwd(),
        "variables": [os.environ.get(name) for name in ("ADDED", "TAKEN", "LATER")],
        "input": sys.stdin.read(),
        "leads a group": os.getpgid(0) == os.getpid(),
        "Ctrl-C": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "others": [str(signal.getsignal(signal.SIGCHLD)), signal.set_wakeup_fd(-1)],
        "files": [int(fd) for fd in os.listdir("/proc/self/fd")],
    }
    print(json.dumps(facts))
    """
    path = program("if True:\n" + text)
    monkeypatch.setenv("TAKEN", "1")
    monkeypatch.setenv("LATER", "than the server")
    changed = {"ADDED": "a b", "TAKEN": None}
    arguments = (path, "--out", tmp_path, 3)
    command = [sys.executable, *map(str, arguments)]
    expected = subprocess.run(
        command,
        cwd=tmp_path,
        env={"ADDED": "a b", "LATER": "than the server"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        process_group=0,
        check=True,
    )
    outcome = server.run(*arguments, cwd=tmp_path, environment=changed)
    assert outcome.stdout == expected.stdout and outcome.stderr == ""
    assert '"leads a group": true, "Ctrl-C": true' in outcome.stdout


@pytest.mark.parametrize(
    "text",
    [
        "print('done')",
        "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)",
        "import sys; sys.exit('what went wrong')",
        "import sys; sys.exit(None)",
        "import atexit; atexit.register(print, 'at the end'); print('first')",
        "from threading import Timer; Timer(0.1, print, ['of a thread']).start()",
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    ],
)
def test_a_script_ends_as_a_process_does(server, program, text):
    path = program(text)
    expected = subprocess.run([sys.executable, path], capture_output=True, text=True)
    outcome = server.run(path, code=None)
    assert outcome.code == expected.returncode
    assert (outcome.stdout, outcome.stderr) == (expected.stdout, expected.stderr)


def test_an_error_has_its_traceback(server, program):
    outcome = server.run(program("print('before')\n1 / 0"), code=None)
    assert (outcome.code, outcome.stdout) == (1, "before\n")
    assert outcome.stderr.startswith("Traceback (most recent call last):\n")
    assert outcome.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_stderr_can_go_to_stdout(server, program):
    text = "import os\nfor n in range(4): os.write(1 + n % 2, b'%d' % n)"
    assert server.run(program(text)).stdout == "02"
    outcome = server.run(program(text), combined=True)
    assert (outcome.stdout, outcome.stderr) == ("0123", "")


def test_an_unexpected_exit_code_is_an_error(server, program):
    with pytest.raises(AssertionError, match="(?s)program.py: 5.*why"):
        server.run(program("print('why'); raise SystemExit(5)"))
    assert server.run(program("raise SystemExit(5)"), code=5).code == 5


def test_several_at_once_and_signals(server, program):
    path = program(WAITING)
    with server.start(path) as first, server.start(path) as second:
        for script in (first, second):
            wait_for(lambda script=script: script.stdout == "waits\n")
            assert script.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            first.wait(timeout=0.01)
        first.send_signal(signal.SIGINT)
        outcome = first.wait(timeout=60)
        assert outcome.code == -signal.SIGINT
        assert outcome.stderr.endswith("KeyboardInterrupt\n")
        assert second.poll() is None
    # The end of the context has killed it.
    assert second.code == -signal.SIGKILL
    # A signal that comes too late is no error.
    first.kill()
    assert server.run(program("print(1)")).stdout == "1\n"


def test_all_end_with_their_client(program, tmp_path):
    """Tests a client that is killed."""
    client = (
        "import sys; from pathlib import Path\n"
        "from script_server import ScriptServer\n"
        "server = ScriptServer(Path(sys.argv[2]), preloaded=())\n"
        "script = server.start(Path(sys.argv[1]))\n"
        "print(script.pid, server._process.pid, flush=True)\n"
        "script.wait()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", client, program(WAITING), tmp_path],
        cwd=REPOSITORY / "tests",
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        pids = process.stdout.readline().split()
        assert len(pids) == 2 and all(map(is_running, pids))
        process.kill()
    wait_for(lambda: not any(map(is_running, pids)))


def is_running(pid):
    """Tells whether a process exists and has not ended."""
    try:
        # The state follows the name, which is in parentheses; Z is a process that has
        # ended.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def test_a_server_that_cannot_start_says_why(tmp_path):
    with ScriptServer(tmp_path, preloaded=("no_such_module",)) as server:
        with pytest.raises(RuntimeError, match="No module named 'no_such_module'"):
            server.run("show_config")


def test_tensorflow_is_imported_but_not_started(scripts, program):
    """Chooses a number of devices, which must happen before TensorFlow starts."""
    text = """
import sys
assert "tensorflow" in sys.modules and "onnxruntime" not in sys.modules
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 3
)
print(len(tf.config.list_logical_devices("CPU")), tf.reduce_sum(tf.ones(5)).numpy())
import numpy as np
print(np.random.randint(2**31))
"""
    first, second = (scripts.run(program(text)).stdout.split() for _ in range(2))
    assert first[:2] == second[:2] == ["3", "5.0"]
    assert first[2] != second[2]
