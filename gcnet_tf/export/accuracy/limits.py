"""Results of the comparison of a file, and the loss that each precision allows."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

from gcnet_tf.evaluation.agreement import EXACT
from gcnet_tf.runtime.manifest import read_manifest


class Limit(NamedTuple):
    """The largest loss that a precision allows; None where there is no limit."""

    agreement: float
    """Smallest share of equal pixels."""
    drop: float | None = None
    """Largest loss of mIoU, beyond twice its error."""
    difference: float | None = None
    """Largest difference of a logit."""


# Of the precisions that round, the drop is what counts: the share of equal pixels
# depends on how decided a model is, and is only so low where something is wrong.
LIMITS = {
    "fp32": Limit(agreement=0.9999, difference=EXACT),
    "fp16": Limit(agreement=0.99, drop=0.001),
    "bf16": Limit(agreement=0.98, drop=0.002),
    "dynamic": Limit(agreement=0.9, drop=0.003),
    "int8": Limit(agreement=0.9, drop=0.01),
    "full_int8": Limit(agreement=0.9, drop=0.01),
}


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """A comparison of a file with the trained Keras model on the same inputs.

    Attributes:
        images: number of images.
        logit_images: number of those, the first ones, whose logits are compared.
        size: (height, width) of the inputs.
        agreement: share of the pixels that have the same label; without padding, and
            without those where the model's two largest logits are equal as far as
            float32 rounds.
        difference: largest difference of a logit, see `log_probability_difference`;
            None for files that give labels only.
        miou, keras_miou: mIoU of the two against the truth, at the inputs' size.
        drop_error: standard error of the difference of these two, from leaving out
            groups of images in turn; it grows as the images get fewer. None for one
            image, which says nothing about others.
    """

    images: int
    logit_images: int
    size: tuple[int, int]
    agreement: float
    difference: float | None
    miou: float
    keras_miou: float
    drop_error: float | None

    @property
    def drop(self) -> float:
        """Loss of mIoU of the file."""
        return self.keras_miou - self.miou

    def excess(self, limit: Limit) -> str | None:
        """Describes what exceeds the limit, as part of a sentence; None for nothing."""
        if not self.agreement >= limit.agreement:
            return f"{self.agreement:.3%} equal pixels, allowed {limit.agreement:.2%}"
        if limit.drop is not None and self.drop_error is not None:
            if self.drop > limit.drop + 2 * self.drop_error:
                return (
                    f"mIoU lower by {self.drop:.4f} ± {self.drop_error:.4f}, allowed "
                    f"{limit.drop} and twice that error"
                )
        if limit.difference is None or self.difference is None:
            return None
        if not self.difference <= limit.difference:
            return f"logits off by {self.difference:.1e}, allowed {limit.difference}"
        return None


def excesses(accuracies: dict[Path, Accuracy]) -> list[str]:
    """Lists a sentence for each file that lost more than its precision allows."""
    sentences = []
    for path, accuracy in accuracies.items():
        precision = read_manifest(path).precision
        excess = accuracy.excess(LIMITS[precision])
        if excess:
            sentences.append(f"{path.name} has lost too much: {excess}.")
    return sentences
