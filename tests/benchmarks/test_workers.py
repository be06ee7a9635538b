"""The end of a worker's process group."""

import sys

from benchmarks.workers import Worker

# The parent leaves a process behind that keeps its end of the pipe open.
PARENT = """
import json, subprocess, sys
sys.stdin.readline()
subprocess.Popen(["sh", "-c", "sleep 20; touch " + sys.argv[1]])
answer = {"images": 1, "wall": 1, "cpu": 1, "memory": 1, "peak": 1, "times": []}
print(json.dumps(answer), flush=True)
sys.stdin.read()
"""


def test_processes_of_a_worker_end_with_it(tmp_path):
    """Guards against waiting for such a process to close the pipe."""
    survived = tmp_path / "survived"
    with Worker([sys.executable, "-c", PARENT, survived]) as worker:
        worker.measure("any", 1)
    assert not survived.exists()
