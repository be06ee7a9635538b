"""A model that was found by what its user calls it, whatever computes it."""

import os
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn, overload

import numpy as np
from PIL import Image

from gcnet_tf.api.result import Result
from gcnet_tf.api.sources import Source, find_sources
from gcnet_tf.config import Config
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.load import TORCH_SUFFIX, load_predictor, model_hash
from gcnet_tf.evaluation.prediction_files import model_record
from gcnet_tf.evaluation.predictions import segmented
from gcnet_tf.files.remote.inputs import local_copy
from gcnet_tf.runtime.predictor import Palette, Predictor
from gcnet_tf.weights.files import SUFFIX


def load(
    model: str | PathLike,
    config: str | PathLike | Config | None = None,
    *,
    mode: str | None = None,
    overrides: Sequence[str] = (),
) -> "Model":
    """Loads a model by what you have of it.

    >>> import gcnet_tf
    >>> model = gcnet_tf.load("runs/voc")
    >>> model.classes[:3]
    ('background', 'aeroplane', 'bicycle')
    >>> exported = gcnet_tf.load("exports/voc/model_fp32.onnx")
    >>> weights = gcnet_tf.load("voc.weights.h5", "my_config.json")

    A published row, as in `gcnet_tf.load("voc_r50_20k")`, downloads mmsegmentation's
    checkpoint once, 200 to 300 MB, into the cache ($GCNET_TF_CACHE, else
    ~/.cache/gcnet_tf), checks its SHA-256 at each use, and accounts for every tensor.
    No code inside a file is run.

    TensorFlow starts only for what needs it: .onnx and .tflite files do not.

    Args:
        model: a run folder (its best weights), an exported file (.onnx, .tflite or the
            folder of a SavedModel), the name of a published row; or with `config` a
            .weights.h5, .keras or mmsegmentation's .pth file.
        config: the configuration of a file that has none: a JSON file, the name of a
            shipped one, or a `Config`.
        mode: "whole", "slide", "ms_flip" or "tiled", see
            `gcnet_tf.runtime.protocol.Protocol`; None for the configuration's.
        overrides: changes of the configuration, such as "evaluation.scale=[640,480]".

    Raises:
        UserError: when the model cannot be found or read; the message says what is
            there and what is allowed.
    """
    if not isinstance(model, (str, PathLike)):
        raise UserError(
            f"load: received {type(model).__name__}; allowed: the path of a run, of "
            "an exported file or of weights, or the name of a published row."
        )
    name = local_copy(os.fsdecode(model), "load")
    is_weights = name.endswith((SUFFIX, TORCH_SUFFIX))
    weights, other = (name, None) if is_weights else (None, name)
    predictor, settings = load_predictor(config, weights, other, overrides, mode)
    record = model_record(model_hash(weights, other), predictor, settings)
    return Model(predictor, settings, record)


class Model:
    """A model that segments images; `load` makes it.

    Keras models and exported files alike. Any number of threads may call `predict` at
    the same time, and each gets the results of its own images; the iterator of several
    images belongs to one thread. TFLite files let threads take turns, the others
    compute side by side.

    A model belongs to the process that loaded it, and refuses to work in a fork of it.
    Load it in each child; for SavedModels and Keras models, start the children by
    "spawn" or "forkserver". Send them paths or arrays, and have them return
    `result.labels`: neither models nor results are pickled.

    Attributes:
        predictor: the network and its protocol, for arrays in and arrays out.
        config: the configuration.
        record: a hash of all that decides its predictions.
    """

    def __init__(self, predictor: Predictor, config: Config, record: str):
        self.predictor = predictor
        self.config = config
        self.record = record
        self._claims: dict[Path, tuple[str, Path | None]] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes in the order of their ids."""
        return self.predictor.classes

    @property
    def palette(self) -> Palette:
        """The colours of the classes, RGB in 0-255."""
        return self.predictor.palette

    @overload
    def predict(self, images: np.ndarray | Image.Image) -> Any: ...

    @overload
    def predict(self, images: str | PathLike) -> Any: ...

    @overload
    def predict(self, images: Iterable[Any]) -> Iterator[Result]: ...

    def predict(self, images: Any) -> Any:
        """Segments one image or several.

        One image gives its `Result`:

        >>> model.predict("street.jpg")
        <Result street, 500x375 (width x height): ...>
        >>> import numpy
        >>> model.predict(numpy.zeros((48, 64, 3), numpy.uint8)).labels.shape
        (48, 64)

        What holds several gives an iterator, which segments an image when it is asked
        for the next one: a folder of any size needs the memory of one image.

        >>> for result in model.predict("photos"):
        ...     files = result.save("out")
        >>> results = list(model.predict(["street.jpg", "photos"]))
        >>> [result.name for result in results]
        ['street', 'left', 'right']

        Files are read as in training: turned upright by their EXIF, with the alpha
        channel left out, and refused with more than 8 bits per channel; Pillow images,
        too. Arrays are RGB: turn OpenCV's around, `array[..., ::-1]`.

        Args:
            images: the path of an image; an array RGB uint8 `(height, width, 3)`, of
                numpy or of what numpy understands; a Pillow image. Several: a folder,
                with its sub-folders, an array `(batch, height, width, 3)`, or a list,
                a generator or any iterable of all these.

        Returns:
            A `Result` for one image, else an iterator of them. When an image fails,
            the iterator raises its error, and `next` goes on with the one after it,
            unless the iterable itself has failed.

        Raises:
            UserError: when it is not an image, or cannot be read or segmented.
        """
        found = find_sources(images)
        if isinstance(found, Source):
            return self._result(found)
        return map(self._result, found)

    def _result(self, source: Source) -> Result:
        # Before it is read, as in the command.
        digest = source.digest()
        if source.image is None:
            assert source.path is not None
            labels, image = segmented(self.predictor, source.path)
        else:
            labels, image = self.predictor.labels(source.image), source.image
        # A change would make files and pictures that the model has not predicted.
        labels.flags.writeable = image.flags.writeable = False
        name = source.name or "image"
        return Result(self, name, source.path, image, labels, digest)

    def claim(self, ids: Path, result: Result) -> None:
        """Keeps a file for the results of one image.

        Raises:
            UserError: when this model has saved the result of another image there.
        """
        real = ids.parent.resolve() / ids.name
        digest, path = self._claims.setdefault(real, (result.digest, result.path))
        if digest != result.digest:
            raise UserError(
                f"{ids} is the prediction of another image of this name"
                f"{f', {path}' if path else ''}; give this one a name of its own: "
                f'save("{ids.with_name("NAME.png")}").'
            )

    def __reduce__(self) -> NoReturn:
        raise UserError(
            "A model belongs to its process, and neither it nor a result is pickled: "
            "load the model in each process, and pass paths, arrays and result.labels."
        )

    def __repr__(self) -> str:
        names = ", ".join(name.strip() for name in self.classes)
        return f"<Model of {len(self.classes)} classes: {names}>"
