"""Costs of each allocator, on a workload that takes memory and gives it back."""

import sys
from pathlib import Path

import pytest

from benchmarks.allocators import costs
from benchmarks.allocators.costs import ALLOCATORS, Allocator, Workload, measure

# glibc gives 40 MB back to the system, and takes 9,766 pages of 4 KB again.
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
    usual, keeping = measure(workload, ALLOCATORS[:2], 1, 0.1, 1)
    assert (usual.workload, usual.allocator) == ("40 MB", "glibc")
    assert keeping.allocator == "glibc, pages kept"
    usual_facts, keeping_facts = usual.to_dict(), keeping.to_dict()
    assert usual_facts["page_faults"] >= 9_700
    assert keeping_facts["page_faults"] < 0.1 * usual_facts["page_faults"]
    assert usual_facts["core_ratio"] == usual_facts["peak_ratio"] == 1
    assert keeping_facts["core_seconds"] > 0
    assert len(usual.cells()) == len(costs.HEAD)


def test_missing_allocators_are_left_out_with_a_sentence(monkeypatch):
    gone = Allocator("gone", (), Path("/nowhere/libgone.so"))
    monkeypatch.setattr(costs, "ALLOCATORS", (*ALLOCATORS[:1], gone))
    installed, missing = costs.available()
    assert installed == list(ALLOCATORS[:1])
    (sentence,) = missing
    assert sentence.startswith("gone is left out: there is no /nowhere/libgone.so")


def test_the_package_does_not_choose_the_allocator():
    """Guards against the package's own defaults, which would make all rows the same."""
    workload = Workload("x", ["python", "-c", "pass"])
    neither = ["TF_ENABLE_ONEDNN_OPTS=0", "TF_CPU_ALLOCATOR_USE_BFC=false"]
    candidates = [costs._candidate(workload, allocator) for allocator in ALLOCATORS]
    for candidate in candidates:
        assert candidate.command[:3] == ["env", *neither]
        assert candidate.command[-3:] == workload.command
    assert candidates[2].command[3] == "TF_CPU_ALLOCATOR_USE_BFC=true"
    assert candidates[4].command[3].startswith("LD_PRELOAD=/")
    assert candidates[5].command[3] == "TF_ENABLE_ONEDNN_OPTS=1"


def test_workloads_are_those_of_training_and_evaluation(tmp_path):
    names = [workload.name for workload in costs.workloads(None, tmp_path, 2)]
    assert sum(name.startswith("training") for name in names) == 4
    assert sum(name.startswith("evaluation") for name in names) == 2
