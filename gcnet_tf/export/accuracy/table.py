"""The accuracy report for people."""

from pathlib import Path

from gcnet_tf.export.accuracy.limits import Accuracy
from gcnet_tf.export.accuracy.samples import SPLIT
from gcnet_tf.runtime.manifest import megabytes


def table(accuracies: dict[Path, Accuracy]) -> str:
    """Formats the report for people, a part for each size of the inputs."""
    parts = []
    for size in dict.fromkeys(row.size for row in accuracies.values()):
        rows = {path: row for path, row in accuracies.items() if row.size == size}
        parts.append(_part(rows))
    return "\n\n".join(parts)


def _part(rows: dict[Path, Accuracy]) -> str:
    first = next(iter(rows.values()))
    lines = [
        f"Beside the trained Keras model in float32 (mIoU {first.keras_miou:.4f}), on "
        f"images of {SPLIT} at {first.size[0]}x{first.size[1]}:",
        f"equal pixels, mIoU and drop of {first.images} image(s), logits of the first "
        f"{first.logit_images}",
        f"{'file':28}{'MB':>7}{'equal pixels':>15}{'logits':>10}{'mIoU':>9}{'drop':>9}"
        f"{'+-':>9}",
    ]
    for path, row in rows.items():
        difference = "" if row.difference is None else f"{row.difference:.1e}"
        error = "" if row.drop_error is None else f"{row.drop_error:.4f}"
        lines.append(
            f"{path.name:28}{megabytes(path):7.1f}{row.agreement:15.3%}"
            f"{difference:>10}{row.miou:9.4f}{row.drop:9.4f}{error:>9}".rstrip()
        )
    return "\n".join(lines)
