"""What each allocator costs, on a workload that takes and gives back memory."""

import sys
from pathlib import Path

import pytest

from benchmarks import allocators
from benchmarks.allocators import ALLOCATORS, Allocator, Workload, measure

# 40 MB are above what glibc keeps, 9,766 pages of 4 KB.
WORKER = """
from benchmarks.workers import serve

def run():
    bytes([7]) * 40_000_000
    return 1

serve({"import": lambda: 0, "run": run})
"""


@pytest.mark.slow
def test_a_workload_runs_under_each_allocator():
    workload = Workload("40 MB", [sys.executable, "-c", WORKER])
    usual, kept = measure(workload, ALLOCATORS[:2], 1, 0.1, 1)
    assert (usual.workload, usual.allocator) == ("40 MB", "glibc")
    assert kept.allocator == "glibc, pages kept"
    found = [each.to_dict() for each in (usual, kept)]
    assert found[0]["page_faults"] >= 9_700
    assert found[1]["page_faults"] < 0.1 * found[0]["page_faults"]
    assert found[0]["core_ratio"] == found[0]["peak_ratio"] == 1
    assert found[1]["core_seconds"] > 0
    assert len(usual.cells()) == len(allocators.HEAD)


def test_what_is_not_installed_is_left_out_with_a_sentence(monkeypatch):
    gone = Allocator("gone", (), Path("/nowhere/libgone.so"))
    monkeypatch.setattr(allocators, "ALLOCATORS", (*ALLOCATORS[:1], gone))
    here, missing = allocators.available()
    assert here == list(ALLOCATORS[:1])
    (sentence,) = missing
    assert sentence.startswith("gone is left out: there is no /nowhere/libgone.so")


def test_the_package_does_not_choose_for_a_workload():
    """Its own defaults would make all rows the same."""
    workload = Workload("x", ["python", "-c", "pass"])
    neither = ["TF_ENABLE_ONEDNN_OPTS=0", "TF_CPU_ALLOCATOR_USE_BFC=false"]
    candidates = [allocators._candidate(workload, each) for each in ALLOCATORS]
    for candidate in candidates:
        assert candidate.command[:3] == ["env", *neither]
        assert candidate.command[-3:] == workload.command
    assert candidates[2].command[3] == "TF_CPU_ALLOCATOR_USE_BFC=true"
    assert candidates[4].command[3].startswith("LD_PRELOAD=/")
    assert candidates[5].command[3] == "TF_ENABLE_ONEDNN_OPTS=1"


def test_workloads_are_those_of_training_and_evaluation(tmp_path):
    found = list(allocators.workloads(None, tmp_path, 2))
    assert sum(each.name.startswith("training") for each in found) == 4
    assert sum(each.name.startswith("evaluation") for each in found) == 2
