"""The progress of a training, which its checkpoints save."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass
class Progress:
    """The state that a resumed run needs besides weights and optimiser.

    Attributes:
        iteration: number of iterations that are done.
        best_miou: best mIoU of all evaluations, as a fraction; -1 before the first one.
        evaluations_since_best: number of evaluations since then, for early stopping.
        evaluation_due: whether the evaluation of this iteration has begun and not
            ended; a resumed run begins with it.
        unreported: values that the monitor has not reported, see `Monitor.unreported`.
        records: digest of each split's records, by which a resumed run knows them.
    """

    iteration: int = 0
    best_miou: float = -1.0
    evaluations_since_best: int = 0
    evaluation_due: bool = False
    unreported: dict[str, Any] | None = None
    records: dict[str, str] | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Progress":
        """Reads the result of `to_dict`, from which older versions left out entries."""
        names = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in values.items() if key in names})

    def to_dict(self) -> dict[str, Any]:
        """Returns the progress as values for JSON."""
        return asdict(self)

    def add_evaluation(self, miou: float) -> bool:
        """Counts an evaluation, and tells whether it is the best one so far."""
        self.evaluations_since_best += 1
        if not miou > self.best_miou:
            return False
        self.best_miou = miou
        self.evaluations_since_best = 0
        return True

    def has_stalled(self, patience: int | None) -> bool:
        """Tells whether early stopping ends the run; only an evaluation changes that.

        Args:
            patience: number of evaluations in a row without a better mIoU that end the
                run; None for no limit.
        """
        return patience is not None and self.evaluations_since_best >= patience
