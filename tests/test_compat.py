"""Both stacks: one module tells them apart, and does so correctly."""

import re
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import gcnet_tf
from gcnet_tf import compat
from gcnet_tf.compat import kernels
from gcnet_tf.models import Segmentor
from gcnet_tf.weights.files import save_weights, weights_by_path

PACKAGE = Path(gcnet_tf.__file__).parent
ASKS_FOR_A_VERSION = re.compile(
    r"KERAS_3|\b(keras|tf|tensorflow|np|cv2)\.(__version__|version)\b|version_info"
)


def tiny_model():
    model = Segmentor(
        3,
        backbone={"depth": 18, "base_channels": 4},
        head={"channels": 8},
        auxiliary={"channels": 8},
        name="gcnet",
    )
    model.build((None, None, None, 3))
    return model


def test_one_package_asks_for_versions():
    files = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "scripts").glob("*.py")]
    asking = {
        file.parent for file in files if ASKS_FOR_A_VERSION.search(file.read_text())
    }
    assert asking == {PACKAGE / "compat"}


def test_the_flag_tells_the_version_of_keras():
    assert compat.KERAS_3 == (not keras.__version__.startswith("2."))


def test_paths_name_the_layers():
    model = tiny_model()
    weights = weights_by_path(model)
    assert set(map(id, weights.values())) == set(map(id, model.weights))
    assert len(weights) == len(model.weights)
    for path, shape in {
        "backbone/stem1/conv/kernel": (3, 3, 3, 2),
        "backbone/stage2_block1/shortcut/norm/moving_mean": (8,),
        "decode_head/context/channel_add/norm/gamma": (2,),
        "decode_head/classifier/bias": (3,),
        "auxiliary_head/conv/conv/kernel": (3, 3, 16, 8),
    }.items():
        assert tuple(weights[path].shape) == shape, path


def test_both_stacks_write_the_same_weights_files(tmp_path):
    model = tiny_model()
    values = {}
    for value, (path, weight) in enumerate(sorted(weights_by_path(model).items())):
        weight.assign(tf.fill(weight.shape, float(value)))
        values[path] = value
    save_weights(model, tmp_path / "model.weights.h5")
    with h5py.File(tmp_path / "model.weights.h5") as file:
        for dataset, path in {
            "backbone/stem/conv_norm/conv/vars/0": "backbone/stem1/conv/kernel",
            "backbone/stem/conv_norm_2/norm/vars/1": "backbone/stem3/norm/beta",
            "backbone/stage4_block2/conv2/norm/vars/3": (
                "backbone/stage4_block2/conv2/norm/moving_variance"
            ),
            "decode_head/context/mask/vars/1": "decode_head/context/mask/bias",
            "decode_head/classifier/vars/0": "decode_head/classifier/kernel",
        }.items():
            assert np.unique(file[dataset]).tolist() == [values[path]], dataset


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_an_optimiser_moves_weights_and_keeps_velocities(precision):
    model = tiny_model()
    optimizer = keras.optimizers.SGD(0.5, momentum=0.9)
    if precision == "mixed_float16":
        optimizer = compat.with_loss_scale(optimizer)
    compat.build_optimizer(optimizer, model)
    weights, weight = model.trainable_weights, model.decode_head.classifier.kernel
    before = weight.numpy()
    with tf.GradientTape() as tape:
        sums = [tf.reduce_sum(values * 2.0) for values in weights]
        loss = compat.scale_loss(optimizer, tf.add_n(sums))
    gradients = tape.gradient(loss, weights)
    compat.apply_gradients(optimizer, gradients, weights)
    np.testing.assert_allclose(weight.numpy(), before - 1.0, rtol=1e-6)
    state = [v.numpy() for v in compat.optimizer_variables(optimizer)]
    assert any(np.shape(v) == before.shape and np.all(v != 0) for v in state)
    scaled = precision == "mixed_float16"
    assert (2.0**15 in [v.item() for v in state if v.ndim == 0]) == scaled


@pytest.mark.parametrize(
    "sets, has_onednn, rate",
    [
        (["avx2", "avx512f", "avx512_bf16"], True, 2),
        (["avx512_bf16", "amx_bf16"], True, 16),
        (["avx512_bf16", "amx_bf16"], False, 1 / 3),
        (["avx2", "avx512f"], True, 1 / 3),
    ],
)
def test_the_rate_of_bfloat16_is_that_of_the_instructions(
    sets, has_onednn, rate, monkeypatch
):
    monkeypatch.setattr(kernels, "instruction_sets", lambda: sets)
    monkeypatch.setattr(kernels, "has_dilated_gradient", lambda dtype: has_onednn)
    assert kernels.bfloat16_rate.__wrapped__() == rate
