"""The place where a training stands, as its checkpoints keep it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass
class Progress:
    """What a resumed run needs beside weights and optimiser.

    Attributes:
        iteration: iterations that are done.
        best_miou: of all evaluations, as a fraction; -1 before the first one.
        evaluations_since_best: for early stopping.
        evaluation_due: whether a signal has stopped an evaluation, with which a resumed
            run begins.
        unreported: what the monitor has not reported yet, see `Monitor.unreported`.
    """

    iteration: int = 0
    best_miou: float = -1.0
    evaluations_since_best: int = 0
    evaluation_due: bool = False
    unreported: dict[str, Any] | None = None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Progress":
        """Reads what `to_dict` wrote; older versions lack an entry."""
        names = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in content.items() if key in names})

    def to_dict(self) -> dict[str, Any]:
        """Returns the form that JSON can hold."""
        return asdict(self)

    def add_evaluation(self, miou: float) -> bool:
        """Counts an evaluation; returns whether it is the best one so far."""
        self.evaluations_since_best += 1
        if not miou > self.best_miou:
            return False
        self.best_miou = miou
        self.evaluations_since_best = 0
        return True

    def has_stalled(self, patience: int | None) -> bool:
        """Tells whether early stopping ends the run; only an evaluation changes that.

        Args:
            patience: evaluations in a row that may bring nothing; None for any number.
        """
        return patience is not None and self.evaluations_since_best >= patience
