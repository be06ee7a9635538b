"""The trained model as it is defined: the oracle of whatever is folded or exported."""

from collections.abc import Callable

import numpy as np

from gcnet_tf.compat import weights_by_path
from gcnet_tf.models.segmentor import Segmentor


def trained_function(model: Segmentor) -> Callable[[np.ndarray], np.ndarray]:
    """Makes the trained model a function of images to logits.

    Normalisations are apart from convolutions, and these are direct, all in float32,
    whatever the model was trained with. So the function shares nothing with
    `inference_graph`, which it judges.

    Args:
        model: the trained model.

    Returns:
        A function from RGB uint8 `(batch, height, width, 3)` to float32 `(batch,
        height, width, num_classes)`.
    """
    plain = model
    if model.winograd or model.compute_dtype != "float32":
        changes = {"auxiliary": None, "winograd": False, "dtype": "float32"}
        plain = Segmentor.from_config({**model.get_config(), **changes})
        plain.build((None, None, None, 3))
        source = weights_by_path(model)
        for path, weight in weights_by_path(plain).items():
            weight.assign(source[path].numpy())  # of another type in float64
    return lambda images: plain(images, training=False)["logits"].numpy()
