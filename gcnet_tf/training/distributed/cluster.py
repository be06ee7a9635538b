"""The cluster of workers, read from the environment variables of a scheduler."""

import json
import os
from dataclasses import dataclass

import tensorflow as tf

from gcnet_tf.errors import UserError

JOBS = ("chief", "worker")
# The ports of a job depend on its number, so that two jobs can share a node.
_FIRST_PORT, _NUM_PORTS = 20_000, 10_000


@dataclass(frozen=True)
class Cluster:
    """The addresses ("host:port") of each job's tasks, and the task of this process."""

    jobs: dict[str, list[str]]
    job: str
    task: int

    @property
    def number(self) -> int:
        """Number of workers, the chief included."""
        return sum(map(len, self.jobs.values()))

    @property
    def index(self) -> int:
        """Number of this worker, from 0 on; 0 is the chief."""
        return self.task + (len(self.jobs.get("chief", ())) * (self.job == "worker"))

    @property
    def addresses(self) -> list[str]:
        """Address of each worker, in the order of their numbers."""
        return [*self.jobs.get("chief", ()), *self.jobs.get("worker", ())]


def find_cluster() -> Cluster:
    """Reads the cluster from TF_CONFIG or, without it, from the Slurm job step.

    Raises:
        UserError: when there is neither, or a variable cannot be read.
    """
    if "TF_CONFIG" in os.environ:
        return _cluster_of_tf_config(os.environ["TF_CONFIG"])
    if "SLURM_STEP_NODELIST" in os.environ:
        return _cluster_of_slurm()
    raise UserError(
        "train.strategy is multi_worker, but neither TF_CONFIG nor a Slurm step "
        "(srun) names the workers. Start every worker with its TF_CONFIG, or "
        "try it on this machine: scripts/launch_local.py --workers 2 -- --cfg CONFIG."
    )


def check_alone() -> None:
    """Checks that the scheduler did not start several workers, for other strategies.

    Each would train by itself, in the same run folder.

    Raises:
        UserError: when TF_CONFIG or Slurm names several.
    """
    tf_config, slurm = _num_in_tf_config(), _num_in_slurm()
    if max(tf_config, slurm) > 1:
        source, way = (
            (f"TF_CONFIG names {tf_config} workers", "unset TF_CONFIG")
            if tf_config > 1
            else (
                f"Slurm has started {slurm} tasks",
                "start one task (srun --ntasks=1)",
            )
        )
        raise UserError(
            f"{source}, but train.strategy is not multi_worker, so that each would "
            "train alone in the same run folder. To train together: --set "
            f"train.strategy=multi_worker. To train on this machine alone: {way}."
        )


def _num_in_tf_config() -> int:
    """Counts the tasks in TF_CONFIG; 0 where it is missing or cannot be read."""
    try:
        jobs = json.loads(os.environ.get("TF_CONFIG", ""))["cluster"]
        return sum(len(tasks) for tasks in jobs.values())
    except (ValueError, TypeError, KeyError, AttributeError):
        return 0


def _num_in_slurm() -> int:
    """Counts the tasks of this Slurm step; 0 outside of one.

    A batch script has SLURM_NTASKS as well, but runs once, with number 0 and no step.
    """

    def value(name: str) -> int:
        text = os.environ.get(f"SLURM_{name}", "")
        return int(text) if text.isdecimal() else 0

    if "SLURM_STEP_NODELIST" in os.environ or "SLURM_STEP_NUM_TASKS" in os.environ:
        return value("STEP_NUM_TASKS") or value("NTASKS")
    number = value("PROCID")
    return max(value("NTASKS"), number + 1) if number else 0


def _cluster_of_tf_config(text: str) -> Cluster:
    try:
        settings = json.loads(text)
        jobs = {job: list(tasks) for job, tasks in settings["cluster"].items() if tasks}
        job, task = settings["task"]["type"], int(settings["task"]["index"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"TF_CONFIG: received {text}; allowed: JSON such as "
            '{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", '
            '"index": 0}}.'
        ) from error
    for name in (*jobs, job):
        if name not in JOBS:
            raise UserError(
                f"TF_CONFIG: received the job {name}; allowed: {' and '.join(JOBS)}, "
                "which all train. There are no parameter servers or evaluators here."
            )
    if len(jobs.get("chief", ())) > 1:
        raise UserError("TF_CONFIG: received several chiefs; allowed: one, or none.")
    if not 0 <= task < len(jobs.get(job, ())):
        raise UserError(
            f"TF_CONFIG: received the task {job} {task}, but the cluster has "
            f"{len(jobs.get(job, ()))} of that type, counted from 0."
        )
    for address in (address for tasks in jobs.values() for address in tasks):
        if not str(address).rpartition(":")[2].isdecimal() or ":" not in str(address):
            raise UserError(
                f"TF_CONFIG: received the address {address}; allowed: host:port."
            )
    return Cluster(jobs, job, task)


class _SlurmResolver(tf.distribute.cluster_resolver.SlurmClusterResolver):
    """TensorFlow's reader of Slurm's variables, without two of its steps.

    TensorFlow assigns GPUs, which Slurm does itself and which fails where there are
    none. And it sorts the nodes as text: node10 would come before node9, unlike in
    Slurm's numbering.
    """

    def __init__(self):
        super().__init__(gpus_per_node=0, gpus_per_task=0, auto_set_gpu=False)

    def nodes(self) -> dict[str, int]:
        """Returns the tasks per node, in the order in which Slurm numbers the tasks."""
        return self._resolve_task_configuration()

    def rank(self) -> int:
        """Returns the number of this process among all tasks."""
        return self._resolve_own_rank()


def _cluster_of_slurm() -> Cluster:
    try:
        resolver = _SlurmResolver()
        nodes, rank = resolver.nodes(), resolver.rank()
        first_port = _FIRST_PORT + int(os.environ["SLURM_JOB_ID"]) % _NUM_PORTS
    except (RuntimeError, ValueError, KeyError) as error:
        raise UserError(
            f"Cannot read Slurm's variables: {error}. Start training with srun, or set "
            "TF_CONFIG."
        ) from error
    addresses = [
        f"{node}:{first_port + task}"
        for node, tasks in nodes.items()
        for task in range(tasks)
    ]
    return Cluster({"worker": addresses}, "worker", rank)
