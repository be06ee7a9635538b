import numpy as np
import pytest

from gcnet_tf.config.schema import MOBILE
from gcnet_tf.models import MobileNet
from gcnet_tf.models.mobilenet import ARCHITECTURES
from gcnet_tf.weights.files import weights_by_path

RNG = np.random.default_rng(0)


def make(architecture="mobilenet_v3_small", width=0.25, **arguments):
    model = MobileNet(architecture, width, **arguments)
    model.build((None, None, None, 3))
    return model


def test_the_configuration_offers_all():
    assert set(MOBILE) == set(ARCHITECTURES)


# Keras' own without the top, counted there; V2 without its last convolution as well.
@pytest.mark.parametrize(
    "architecture, parameters",
    [
        ("mobilenet_v2", 1_811_712),
        ("mobilenet_v3_large", 2_971_952),
        ("mobilenet_v3_small", 927_008),
    ],
)
def test_number_of_parameters(architecture, parameters):
    model = make(architecture, width=1.0)
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == parameters


@pytest.mark.parametrize("architecture", MOBILE)
@pytest.mark.parametrize("output_stride, strides", [(16, (4, 8, 16, 16)), (8, (4, 8))])
def test_features_have_the_strides_of_the_resnet(architecture, output_stride, strides):
    model = make(architecture, output_stride=output_stride)
    features = model(np.zeros((1, 66, 97, 3), np.float32))
    shapes = {name: tuple(value.shape) for name, value in features.items()}
    assert shapes == model.compute_output_shape((1, 66, 97, 3))
    strides = (*strides, *strides[-1:] * 2)[:4]
    assert [shapes[f"stage{n}"][1:3] for n in (1, 2, 3, 4)] == [
        (-(-66 // stride), -(-97 // stride)) for stride in strides
    ]


def test_stride_8_contains_stride_32():
    # V2: squeeze-and-excitation has means over other positions.
    dense = make("mobilenet_v2", output_stride=8)
    sparse = make("mobilenet_v2", output_stride=32)
    for path, weight in weights_by_path(dense).items():
        if path.endswith(("gamma", "moving_variance")):
            weight.assign(RNG.uniform(0.5, 1.5, weight.shape))
        elif path.endswith(("beta", "moving_mean")):
            weight.assign(RNG.normal(0, 0.1, weight.shape))
    sparse.set_weights(dense.get_weights())
    x = RNG.normal(size=(1, 128, 192, 3)).astype(np.float32)
    fine, coarse = dense(x), sparse(x)
    # The taps of a stride of 2 on even sides begin at 1, and so does the next one's.
    for name, step in (("stage3", 2), ("stage4", 4)):
        assert np.abs(coarse[name]).max() > 0.1
        np.testing.assert_allclose(
            fine[name][:, step - 1 :: step, step - 1 :: step], coarse[name], atol=1e-4
        )


def test_the_first_block_of_a_stage_has_no_shortcut():
    model = make("mobilenet_v3_large", output_stride=8)
    actual = [
        [getattr(b, "has_shortcut", None) for b in stage] for stage in model.stages
    ]
    assert actual == [
        [False, True],
        [False, True, True],
        # From 80 channels to 112 in the middle.
        [False, True, True, True, False, True],
        [False, True, True, None],
    ]


def test_dilations_are_contracted():
    model = make("mobilenet_v2", output_stride=8)
    actual = [{b.depthwise.conv.dilation for b in stage[1:]} for stage in model.stages]
    assert [stage[0].depthwise.conv.dilation for stage in model.stages] == [1, 1, 1, 2]
    assert actual == [{1}, {1}, {2}, {4}]


def test_frozen_stages_stay_as_they_are():
    model = make("mobilenet_v3_large", frozen_stages=1)
    trainable = {id(weight) for weight in model.trainable_weights}
    weights = weights_by_path(model)
    trained = {p.split("/")[0] for p, w in weights.items() if id(w) in trainable}
    frozen = {"stem1", "stem2", "stage1_block1", "stage1_block2"}
    assert {path.split("/")[0] for path in weights} - trained == frozen
    before = {path: weight.numpy() for path, weight in weights.items()}
    model(RNG.normal(size=(2, 33, 33, 3)).astype(np.float32), training=True)
    for path, weight in weights.items():
        same = np.array_equal(weight.numpy(), before[path])
        moves = "moving" in path and path.split("/")[0] not in frozen
        assert same != moves, path


@pytest.mark.parametrize("arguments", [{"architecture": "v4"}, {"output_stride": 4}])
def test_refuses_what_is_not_there(arguments):
    with pytest.raises(ValueError, match="Received: "):
        MobileNet(**arguments)


def test_survives_saving():
    model = make(output_stride=8, frozen_stages=2)
    assert MobileNet.from_config(model.get_config()).get_config() == model.get_config()
