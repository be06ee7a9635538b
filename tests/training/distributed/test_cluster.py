import json
import os

import pytest

from gcnet_tf.errors import UserError
from gcnet_tf.training.distributed.cluster import check_alone, find_cluster
from gcnet_tf.training.distributed.strategy import make_strategy


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("TF_CONFIG", raising=False)


def set_tf_config(monkeypatch, cluster, job="worker", index=0):
    settings = {"cluster": cluster, "task": {"type": job, "index": index}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(settings))


def set_slurm(monkeypatch, **variables):
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name}", value)


def test_workers_of_tf_config(monkeypatch):
    set_tf_config(monkeypatch, {"worker": ["a:1", "b:2", "c:3"]}, index=2)
    cluster = find_cluster()
    assert (cluster.number, cluster.index) == (3, 2)
    assert cluster.jobs == {"worker": ["a:1", "b:2", "c:3"]}


def test_a_chief_comes_first(monkeypatch):
    jobs = {"worker": ["b:2", "c:3"], "chief": ["a:1"]}
    for job, index, expected in (("chief", 0, 0), ("worker", 0, 1), ("worker", 1, 2)):
        set_tf_config(monkeypatch, jobs, job, index)
        cluster = find_cluster()
        assert (cluster.number, cluster.index) == (3, expected)


def test_slurm(monkeypatch):
    """Task numbers follow the list of nodes: node9 before node10."""
    set_slurm(
        monkeypatch,
        PROCID="2",
        STEP_NUM_TASKS="3",
        STEP_NODELIST="node[9-10]",
        STEP_TASKS_PER_NODE="2,1",
        JOB_ID="1234567",
    )
    cluster = find_cluster()
    assert cluster.jobs == {"worker": ["node9:24567", "node9:24568", "node10:24567"]}
    assert (cluster.job, cluster.index) == ("worker", 2)


def test_tf_config_comes_before_slurm(monkeypatch):
    set_slurm(monkeypatch, STEP_NODELIST="node1")
    set_tf_config(monkeypatch, {"worker": ["a:1"]})
    assert find_cluster().jobs == {"worker": ["a:1"]}


def test_an_environment_without_workers_is_refused():
    with pytest.raises(UserError, match="neither TF_CONFIG nor a Slurm.*launch_local"):
        find_cluster()


def test_half_of_slurms_variables(monkeypatch):
    set_slurm(monkeypatch, STEP_NODELIST="node1")
    with pytest.raises(UserError, match="Cannot read Slurm's variables: SLURM_PROCID"):
        find_cluster()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"cluster": {"worker": ["a:1"]}}', '{"cluster": 3}']
)
def test_invalid_tf_config_is_refused(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match="TF_CONFIG: received .*allowed: JSON such as"):
        find_cluster()


@pytest.mark.parametrize(
    "cluster, job, index, message",
    [
        ({"worker": ["a:1"], "ps": ["b:1"]}, "worker", 0, "received the job ps"),
        ({"worker": ["a:1"]}, "evaluator", 0, "received the job evaluator"),
        ({"worker": ["a:1"]}, "chief", 0, "the task chief 0.* has 0 of"),
        ({"worker": ["a:1"]}, "worker", 1, "the task worker 1.* has 1 of"),
        ({"worker": ["a:1"]}, "worker", -1, "the task worker -1"),
        ({"chief": ["a:1", "b:1"]}, "chief", 0, "several chiefs"),
        ({"worker": ["a"]}, "worker", 0, "received the address a; allowed: host:port"),
        ({"worker": ["a:b"]}, "worker", 0, "received the address a:b"),
        ({"worker": [3]}, "worker", 0, "received the address 3"),
    ],
)
def test_clusters_that_cannot_train(cluster, job, index, message, monkeypatch):
    set_tf_config(monkeypatch, cluster, job, index)
    with pytest.raises(UserError, match=message):
        find_cluster()


TWO_WAYS = "train.strategy=multi_worker. To train on this machine alone: "


@pytest.mark.parametrize("kind", ["mirrored", "one_device"])
def test_several_workers_of_tf_config_do_not_train_alone(kind, monkeypatch):
    set_tf_config(monkeypatch, {"chief": ["a:1"], "worker": ["b:2"]})
    with pytest.raises(UserError, match=f"names 2 workers.*{TWO_WAYS}unset TF_CONFIG"):
        make_strategy(kind)


@pytest.mark.parametrize(
    "variables",
    [
        {"STEP_NUM_TASKS": "4", "PROCID": "0", "NTASKS": "4"},
        {"STEP_NODELIST": "node[1-4]", "PROCID": "0", "NTASKS": "4"},
        {"PROCID": "3", "NTASKS": "4"},
        {"PROCID": "3"},
    ],
)
def test_several_tasks_of_slurm_do_not_train_alone(variables, monkeypatch):
    set_slurm(monkeypatch, **variables)
    with pytest.raises(UserError, match=f"started 4 tasks.*{TWO_WAYS}start one task"):
        make_strategy("mirrored")


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"STEP_NUM_TASKS": "1", "PROCID": "0", "NTASKS": "1"},
        # srun --ntasks=1 inside a larger job
        {"STEP_NUM_TASKS": "1", "PROCID": "0", "NTASKS": "8"},
        {"PROCID": "0", "NTASKS": "8"},  # the batch script of a larger job
    ],
)
def test_one_process_trains_alone(variables, monkeypatch):
    set_slurm(monkeypatch, **variables)
    check_alone()
    for cluster in ({}, {"worker": ["a:1"]}):
        set_tf_config(monkeypatch, cluster)
        check_alone()
