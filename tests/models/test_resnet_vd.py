"""ResNet-vd against its definition in NumPy, and a short training of it."""

import numpy as np
import pytest

from gcnet_tf.config import load_config
from gcnet_tf.errors import UserError
from gcnet_tf.models import ResNet, Segmentor
from gcnet_tf.weights.files import load_weights, weights_by_path

EPSILON = 1e-5
SIZES = [(64, 96), (65, 97), (66, 90)]


class Definition:
    """PaddleSeg's ResNet_vd in float64, tap by tap.

    Its units: 1x1, 3x3 and 1x1 convolutions (or two of 3x3), of which the first 3x3 has
    the stride. A shortcut that changes the channels is a 1x1 convolution, before which
    a stride of 2 becomes the mean of 2x2 positions, of those there are at an odd side.
    A stage at a larger dilation has no stride; all its 3x3 convolutions are dilated.
    """

    def __init__(self, weights, bottleneck, num_blocks):
        self.weights = {path: weight.numpy() for path, weight in weights.items()}
        self.bottleneck = bottleneck
        self.num_blocks = num_blocks

    def conv_norm(self, x, name, stride=1, dilation=1):
        kernel = self.weights[f"{name}/conv/kernel"]
        reach = dilation * (len(kernel) // 2)
        height, width = x.shape[:2]
        padded = np.pad(x, [(reach, reach), (reach, reach), (0, 0)])
        y = 0
        for down, row in enumerate(kernel):
            for right, taps in enumerate(row):
                top, left = down * dilation, right * dilation
                y += padded[top : top + height, left : left + width] @ taps
        y = y[::stride, ::stride]
        norm = {
            leaf: self.weights[f"{name}/norm/{leaf}"]
            for leaf in ("gamma", "beta", "moving_mean", "moving_variance")
        }
        y = (y - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + EPSILON)
        return y * norm["gamma"] + norm["beta"]

    def unit(self, x, name, stride, dilation):
        strided = {"stride": stride, "dilation": dilation}
        if self.bottleneck:
            settings = [{}, strided, {}]
        else:
            settings = [strided, {"dilation": dilation}]
        y = x
        for number, arguments in enumerate(settings, start=1):
            y = self.conv_norm(y, f"{name}/conv{number}", **arguments)
            y = np.maximum(y, 0) if number < len(settings) else y
        if f"{name}/shortcut_vd/conv/kernel" in self.weights:
            if stride == 2:
                rows = range(0, x.shape[0], 2)
                columns = range(0, x.shape[1], 2)
                x = np.array(
                    [
                        [x[i : i + 2, j : j + 2].mean((0, 1)) for j in columns]
                        for i in rows
                    ]
                )
            x = self.conv_norm(x, f"{name}/shortcut_vd")
        return np.maximum(x + y, 0)

    def features(self, x, strides, dilations):
        for number, stride in enumerate((2, 1, 1), start=1):
            x = np.maximum(self.conv_norm(x, f"stem{number}", stride), 0)
        padded = np.pad(x, [(1, 1), (1, 1), (0, 0)])  # nothing is negative
        height, width = x.shape[:2]
        x = np.max(
            [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)],
            axis=0,
        )[::2, ::2]
        outputs = {}
        for stage, number in enumerate(self.num_blocks):
            for block in range(number):
                name = f"stage{stage + 1}_block{block + 1}"
                x = self.unit(
                    x, name, strides[stage] if block == 0 else 1, dilations[stage]
                )
            outputs[f"stage{stage + 1}"] = x
        return outputs


# Strides and dilations of the stages, as PaddleSeg's `dilation_dict` gives them.
LAYOUTS = {8: ((1, 2, 1, 1), (1, 1, 2, 4)), 16: ((1, 2, 2, 1), (1, 1, 1, 2))}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("output_stride", LAYOUTS)
@pytest.mark.parametrize("depth, num_blocks", [(18, (2, 2, 2, 2)), (50, (3, 4, 6, 3))])
def test_features_are_those_of_the_definition(depth, num_blocks, output_stride, size):
    model = ResNet(
        depth,
        base_channels=4,
        output_stride=output_stride,
        variant="vd",
        dtype="float64",
    )
    model.build((None, None, None, 3))
    rng = np.random.default_rng(0)
    for path, weight in weights_by_path(model).items():
        if path.endswith(("gamma", "moving_variance")):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif path.endswith(("beta", "moving_mean")):
            weight.assign(rng.normal(0, 0.1, weight.shape))
    image = rng.normal(size=(*size, 3))
    features = model(image[np.newaxis])
    definition = Definition(weights_by_path(model), depth == 50, num_blocks)
    expected = definition.features(image, *LAYOUTS[output_stride])
    shapes = model.compute_output_shape((1, *size, 3))
    for stage, values in expected.items():
        assert np.abs(values).max() > 0.1
        np.testing.assert_allclose(
            features[stage][0], values, atol=1e-11 * np.abs(values).max()
        )
        assert shapes[stage] == (1, *values.shape)


@pytest.mark.parametrize(
    "depth, millions",
    # Of these networks as published for 1000 classes, in timm's results as resnet18d,
    # resnet50d and resnet101d; 512 or 2048 features, and a bias, for each class.
    [(18, 11.71), (50, 25.58), (101, 44.57)],
)
def test_parameters_are_those_of_the_published_networks(depth, millions):
    model = ResNet(depth, variant="vd")
    model.build((None, None, None, 3))
    features = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    classifier = ((512 if depth == 18 else 2048) + 1) * 1000
    assert round((features + classifier) / 1e6, 2) == millions


def test_images_are_normalised_to_minus_one_to_one():
    backbone = {"architecture": "resnet_vd", "depth": 18, "base_channels": 4}
    model = Segmentor(3, backbone=backbone, head={"channels": 4}, dtype="float64")
    seen = []
    model.backbone.call = lambda images, training: seen.append(images)
    with pytest.raises(TypeError):  # there are no features to go on with
        model.call(np.array([0, 127.5, 255])[:, None, None, None] * np.ones((1, 1, 3)))
    np.testing.assert_allclose(seen[0][:, 0, 0], [[-1] * 3, [0] * 3, [1] * 3])


def test_weights_of_the_other_variant_are_refused(tmp_path):
    def made(architecture):
        backbone = {"architecture": architecture, "depth": 18, "base_channels": 4}
        model = Segmentor(3, backbone=backbone, head={"channels": 4})
        model.build((None, None, None, 3))
        return model

    path = tmp_path / "of.weights.h5"
    made("resnet_v1c").save_weights(path)
    with pytest.raises(UserError, match="do not fit the model"):
        load_weights(made("resnet_vd"), path)


def test_pretrained_weights_are_refused_with_what_is_allowed():
    for settings in (["model.backbone.pretrained=imagenet"],):
        with pytest.raises(UserError, match="resnet_vd.*allowed: null.*init_from"):
            load_config("voc_r50vd_40k", settings)


@pytest.mark.slow
def test_a_short_training_learns(tiny_config, tmp_path):
    from training.runs import records

    from gcnet_tf.training import train

    run = train(
        tiny_config(
            "model.backbone.architecture=resnet_vd",
            "model.backbone.depth=18",
            "train.iterations=40",
            "train.evaluate_every=40",
            "train.checkpoint_every=40",
        ),
        tmp_path / "run",
    )
    losses = [record["loss"] for record in records(run, "train")]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])
