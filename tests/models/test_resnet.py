import numpy as np
import pytest

from gcnet_tf.models.resnet import ResidualUnit, ResNet
from gcnet_tf.weights.files import weights_by_path

RNG = np.random.default_rng(0)


def randomise(model):
    """Weights and statistics under which no unit is the identity."""
    for path, weight in weights_by_path(model).items():
        if path.endswith(("gamma", "moving_variance")):
            weight.assign(RNG.uniform(0.5, 1.5, weight.shape))
        elif path.endswith(("beta", "moving_mean")):
            weight.assign(RNG.normal(0, 0.1, weight.shape))


@pytest.mark.parametrize("size, expected", [((65, 97), (9, 13)), ((64, 96), (8, 12))])
def test_features_have_the_strides_of_the_reference(size, expected):
    model = ResNet(50, base_channels=4)
    features = model(np.zeros((1, *size, 3), np.float32))
    shapes = {name: tuple(value.shape) for name, value in features.items()}
    quarter = tuple(-(-side // 4) for side in size)
    assert shapes == {
        "stage1": (1, *quarter, 16),
        "stage2": (1, *expected, 32),
        "stage3": (1, *expected, 64),
        "stage4": (1, *expected, 128),
    }
    assert shapes == model.compute_output_shape((1, *size, 3))


@pytest.mark.parametrize("size", [(64, 96), (65, 97)])
def test_stride_8_subsampled_equals_stride_16(size):
    dense = ResNet(50, base_channels=4, output_stride=8, dtype="float64")
    sparse = ResNet(50, base_channels=4, output_stride=16, dtype="float64")
    dense.build((None, None, None, 3))
    sparse.build((None, None, None, 3))
    randomise(dense)
    sparse.set_weights(dense.get_weights())
    x = RNG.normal(size=(1, *size, 3))
    for stage in ("stage3", "stage4"):
        fine, coarse = dense(x)[stage].numpy(), sparse(x)[stage].numpy()
        assert np.abs(coarse).max() > 0.1
        largest = np.abs(coarse).max()
        np.testing.assert_allclose(fine[:, ::2, ::2], coarse, atol=1e-12 * largest)


def test_dilations_are_contracted():
    model = ResNet(50, base_channels=4)
    dilations = [
        [unit.convs[1].conv.dilation for unit in stage] for stage in model.stages
    ]
    assert dilations == [[1] * 3, [1] * 4, [1] + [2] * 5, [2, 4, 4]]


def test_the_second_convolution_of_a_basic_unit_is_not_dilated():
    model = ResNet(18, base_channels=4)
    last = model.stages[3][1]
    assert [conv.conv.dilation for conv in last.convs] == [4, 1]


def test_shortcuts_are_where_the_reference_has_them():
    def shortcuts(depth):
        model = ResNet(depth, base_channels=4)
        model.build((None, None, None, 3))
        return [[unit.shortcut is not None for unit in stage] for stage in model.stages]

    assert shortcuts(18) == [[False, False]] + [[True, False]] * 3
    assert [stage[0] for stage in shortcuts(50)] == [True] * 4


def test_new_units_are_the_identity():
    model = ResNet(18, base_channels=4)
    model.build((None, None, None, 3))
    ends = [
        weight.numpy().max()
        for path, weight in weights_by_path(model).items()
        if path.endswith("conv2/norm/gamma") and "block" in path
    ]
    assert ends == [0.0] * 8


@pytest.mark.parametrize("arguments", [{"depth": 20}, {"output_stride": 4}])
def test_refuses_what_is_not_there(arguments):
    with pytest.raises(ValueError, match="Received: "):
        ResNet(**arguments)


@pytest.mark.parametrize(
    "frozen, prefixes", [(0, ["stem"]), (2, ["stem", "stage1_", "stage2_"])]
)
def test_frozen_stages_stay_as_they_are(frozen, prefixes):
    model = ResNet(18, base_channels=4, frozen_stages=frozen)
    model.build((None, None, None, 3))
    weights = weights_by_path(model)
    changing = {id(weight) for weight in model.trainable_weights}
    trained = {p.split("/")[0] for p, w in weights.items() if id(w) in changing}
    every = {path.split("/")[0] for path in weights}
    kept = {name for name in every if name.startswith(tuple(prefixes))}
    assert kept and trained == every - kept
    before = {path: weight.numpy() for path, weight in weights.items()}
    model(RNG.normal(size=(2, 33, 33, 3)).astype(np.float32), training=True)
    for path, weight in weights.items():
        same = np.array_equal(weight.numpy(), before[path])
        moves = "moving" in path and path.split("/")[0] not in kept
        assert same != moves, path


def test_nothing_is_frozen_by_default():
    model = ResNet(18, base_channels=4)
    model.build((None, None, None, 3))
    assert len(model.trainable_weights) * 5 == len(model.weights) * 3


def test_frozen_stages_survive_saving():
    model = ResNet(18, base_channels=4, frozen_stages=1)
    assert ResNet.from_config(model.get_config()).frozen_stages == 1


def test_context_blocks_come_before_the_shortcut():
    """The block changes the sum that a unit adds to its input, and not the input."""
    unit = ResidualUnit(4, True, context={"block": "se", "ratio": 0.25})
    unit.build((None, None, None, 16))
    for path, weight in weights_by_path(unit).items():
        if "gamma" in path or path.endswith("kernel"):
            weight.assign(RNG.normal(0, 0.5, weight.shape))
    x = RNG.normal(size=(2, 5, 7, 16)).astype(np.float32)
    main = x
    for conv in unit.convs:
        main = conv(main)
    expected = np.maximum(x + unit.context(main), 0)
    np.testing.assert_allclose(unit(x), expected, atol=1e-5)
    assert np.abs(unit(x) - np.maximum(x + main, 0)).max() > 0.1


@pytest.mark.parametrize("block", ["gc", "nl"])
def test_context_blocks_are_frozen_with_their_stage(block):
    context = {"block": block, "stages": (1, 2)}
    model = ResNet(50, base_channels=4, frozen_stages=1, context=context)
    model.build((None, None, None, 3))
    weights = weights_by_path(model)
    blocks = {path: w for path, w in weights.items() if "/context/" in path}
    assert {path.split("/")[0] for path in blocks} == {
        f"stage{s}_block{b}" for s, n in ((1, 3), (2, 4)) for b in range(1, n + 1)
    }
    trainable = {id(weight) for weight in model.trainable_weights}
    trained = [path for path, weight in blocks.items() if id(weight) in trainable]
    assert trained and all(path.startswith("stage2_") for path in trained)
    randomise(model)
    before = {path: weight.numpy() for path, weight in blocks.items()}
    model(RNG.normal(size=(2, 33, 33, 3)).astype(np.float32), training=True)
    for path, weight in blocks.items():
        if "moving" in path:
            same = np.array_equal(weight.numpy(), before[path])
            assert same == path.startswith("stage1_")


def test_context_blocks_survive_saving_and_need_bottlenecks():
    context = {"block": "gc", "stages": (4,)}
    config = ResNet(50, base_channels=4, context=context).get_config()
    stages = ResNet.from_config(config).stages
    assert [stage[0].context is not None for stage in stages] == [False] * 3 + [True]
    with pytest.raises(ValueError, match="need units with a bottleneck.*depth=18"):
        ResNet(18, context=context)
