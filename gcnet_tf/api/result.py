"""The result of one image: class ids, probabilities, pictures and files."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.prediction_files import (
    Task,
    check_files,
    painted_image,
    prediction_record,
    write_prediction,
)
from gcnet_tf.visualize.pictures import class_shares, small_overlay, with_legend

if TYPE_CHECKING:
    from gcnet_tf.api.model import Model

# The longest side of the picture in a notebook, which keeps all pictures it has shown.
_NOTEBOOK_SIDE = 800


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """Holds the answer of a model about one image.

    >>> result = model.predict("street.jpg")
    >>> result.labels.shape, result.labels.dtype.name
    ((375, 500), 'uint8')
    >>> result.image.shape
    (375, 500, 3)

    At the end of a notebook's cell it shows itself as a picture.

    Attributes:
        model: the model, whose `classes` and `palette` say what the ids mean.
        name: the name of the image's file without its ending, which `save` uses; below
            a folder with its sub-folders, as in "left/street". Arrays are called
            "image", of several "image_00000" and so on.
        path: the image's file; None for arrays and Pillow images.
        image: the upright image, RGB uint8 `(height, width, 3)`, read-only. Of a very
            large TIFF that the mode "tiled" has read by rows: the pixels of its
            overlay.
        labels: class ids uint8 `(height, width)`, read-only.
    """

    model: "Model"
    name: str
    path: Path | None
    image: np.ndarray
    labels: np.ndarray
    digest: str
    """A hash of the image, for the files."""

    @property
    def shares(self) -> Mapping[str, float]:
        """The share of the pixels of each class that occurs, the largest first.

        >>> shares = model.predict("street.jpg").shares
        >>> round(sum(shares.values()), 6)
        1.0
        """
        names = self.model.classes
        shares = class_shares(self.labels, len(names))
        return {names[index].strip(): share for index, share in shares}

    def probabilities(self) -> np.ndarray:
        """Computes the probability of each class.

        The network runs again at each call: probabilities take more memory than all
        the rest, and most people need the labels alone.

        >>> result = model.predict("street.jpg")
        >>> probabilities = result.probabilities()
        >>> probabilities.shape == (*result.labels.shape, len(model.classes))
        True
        >>> float(probabilities[0, 0].sum().round(3))
        1.0

        Returns:
            `(height, width, num_classes)` in [0, 1], with the sum 1 for each pixel.

        Raises:
            UserError: when the exported file gives labels only, or they would take
                more than 4 GiB.
        """
        if self.image.shape[:2] != self.labels.shape:
            raise UserError(
                f"{self.path} was read by rows, because of its size; it has labels, "
                "and no probabilities. Cut it into parts that overlap a little."
            )
        return self.model.predictor.probabilities(self.image)

    def overlay(self, opacity: float = 0.5, legend: bool = True) -> Image.Image:
        """Paints the classes over the image.

        >>> picture = model.predict("street.jpg").overlay(legend=False)
        >>> picture.size
        (500, 375)

        Args:
            opacity: share of the class's colour, in 0-1. Borders of classes have full
                colour.
            legend: whether the names of the classes and their shares stand below; a
                small image is then enlarged.

        Raises:
            UserError: when the opacity is not in 0-1.
        """
        if not 0 <= opacity <= 1:
            raise UserError(f"opacity: received {opacity}; allowed: 0 to 1.")
        painted = painted_image(self.model.predictor, self.image, self.labels, opacity)
        return self._with_legend(painted) if legend else Image.fromarray(painted)

    def save(self, out: str | PathLike) -> list[Path]:
        """Writes NAME.png with the class ids, and NAME_overlay.png.

        They are the files of the command `predict`. A prediction of the same image
        that is there already is replaced; no other file ever is.

        >>> result = model.predict("street.jpg")
        >>> [path.as_posix() for path in result.save("out")]
        ['out/street.png', 'out/street_overlay.png']
        >>> [path.as_posix() for path in result.save("out/monday.png")]
        ['out/monday.png', 'out/monday_overlay.png']

        Args:
            out: the folder, made if missing, for files of this result's `name`; or the
                path of the class ids, which ends in .png.

        Returns:
            The two files.

        Raises:
            UserError: when a file that is no prediction, or that of another image with
                the same name, would be replaced, or a file cannot be written.
        """
        path = Path(out)
        is_file = path.suffix.lower() == ".png" and not path.is_dir()
        task = Task.named(
            self.path, path.with_suffix("") if is_file else path / self.name
        )
        check_files([task])
        self.model.claim(task.ids, self)
        record = prediction_record(self.digest, self.model.record)
        write_prediction(self.model.predictor, task, self.image, self.labels, record)
        return task.files

    def _with_legend(self, painted: np.ndarray) -> Image.Image:
        model = self.model
        return with_legend(painted, self.labels, model.classes, model.palette)

    def _repr_png_(self) -> bytes:
        """Makes the picture that a notebook shows."""
        if max(self.labels.shape) <= _NOTEBOOK_SIDE:
            picture = self.overlay()
        else:
            bounds = (_NOTEBOOK_SIDE, _NOTEBOOK_SIDE)
            small = small_overlay(self.image, self.labels, self.model.palette, bounds)
            picture = self._with_legend(np.asarray(small))
        content = io.BytesIO()
        picture.save(content, "png")
        return content.getvalue()

    def __repr__(self) -> str:
        height, width = self.labels.shape
        shares = ", ".join(f"{name} {share:.1%}" for name, share in self.shares.items())
        return f"<Result {self.name}, {width}x{height} (width x height): {shares}>"
