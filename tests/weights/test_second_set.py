"""Checkpoints with two sets of weights, in the form of mmcv's and mmengine's hooks."""

import numpy as np
import pytest
from mmseg_states import backbone_state, drawn_state
from torch_files import write_torch_file

from gcnet_tf.config import load_config
from gcnet_tf.errors import UserError
from gcnet_tf.models import build_model
from gcnet_tf.training.initial import initialise
from gcnet_tf.weights.files import load_weights, weight_shapes, weights_by_path
from gcnet_tf.weights.import_mmseg import import_weights
from gcnet_tf.weights.mmseg_names import reference_key, to_ours
from gcnet_tf.weights.second_set import one_set
from gcnet_tf.weights.torch.file import read_torch_file

pytestmark = pytest.mark.usefixtures("shallow")

SMALL = [
    "model.backbone.base_channels=4",
    "model.head.channels=8",
    "model.auxiliary.channels=8",
    "data.dataset=folder",
    'data.classes=["a","b","c"]',
]
NO_PARAMETERS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture(scope="module")
def sets():
    """Two sets of weights of one model."""
    shapes = weight_shapes(build_model(load_config("shapes_r18", SMALL)))
    return drawn_state(shapes, seed=3), drawn_state(shapes, seed=4)


def mmcv(first, second):
    """Buffers of the model itself, which come first, one for each parameter."""
    buffers = {
        "ema_" + name.replace(".", "_"): value
        for name, value in second.items()
        if not name.endswith(NO_PARAMETERS)
    }
    return {"meta": {"iter": 5}, "state_dict": {**buffers, **first}}


def mmengine(first, second):
    """The state of a module that holds a copy of the model, and a counter."""
    copy = {f"module.{name}": value for name, value in second.items()}
    steps = {"steps": np.array(5, np.int64)}
    return {
        "meta": {"iter": 5},
        "state_dict": first,
        "message_hub": {},
        "ema_state_dict": {**steps, **copy},
    }


@pytest.fixture(params=[mmcv, mmengine])
def file(request, sets, tmp_path):
    return write_torch_file(tmp_path / "model.pth", request.param(*sets))


def expected_of(path, sets, file, second):
    """Returns the value of our weight `path`; mmcv copies parameters only."""
    name = reference_key(path)
    has_copy = read_torch_file(file).ema_state_dict or not name.endswith(NO_PARAMETERS)
    return to_ours(path, sets[bool(second and has_copy)][name])


def assert_holds(model, sets, file, second):
    for path, weight in weights_by_path(model).items():
        expected = expected_of(path, sets, file, second)
        np.testing.assert_array_equal(weight.numpy(), expected, err_msg=path)


@pytest.mark.parametrize("second", [False, True])
def test_either_set_is_imported_and_the_other_one_counted(second, file, sets, tmp_path):
    config = load_config("shapes_r18", SMALL)
    out = tmp_path / "m.weights.h5"
    content = read_torch_file(file)
    text = import_weights(content, config, out, "FILE", second)
    model = build_model(config)
    load_weights(model, out)
    assert_holds(model, sets, file, second)
    num_copied = (
        len(content.ema_state_dict) - second  # the counter of steps belongs to it
        if content.ema_state_dict
        else sum(not name.endswith(NO_PARAMETERS) for name in sets[0])
    )
    reason = "the first set of" if second else "a second set of weights, of an EMA hook"
    assert f"{num_copied} ({reason}" in text
    if second and content.ema_state_dict:
        assert "1 (a counter of the EMA hook)" in text


@pytest.mark.parametrize("second", [False, True])
def test_a_training_starts_from_either_set(second, file, sets):
    settings = [f"train.init_from={file}", f"train.init_ema={str(second).lower()}"]
    config = load_config("shapes_r18", [*SMALL, *settings])
    model = build_model(config)
    text = initialise(model, config)
    assert_holds(model, sets, file, second)
    assert f"train.init_ema={str(not second).lower()} takes it" in text


def test_a_file_of_one_set_has_no_second(sets, tmp_path):
    file = read_torch_file(
        write_torch_file(tmp_path / "a.pth", {"state_dict": sets[0]})
    )
    assert one_set(file, False, "FILE")[1] == {}
    with pytest.raises(UserError, match="FILE has no second set of weights"):
        one_set(file, True, "FILE")


def test_only_a_checkpoint_of_pytorch_has_two_sets(tmp_path):
    settings = [f"train.init_from={tmp_path}", "train.init_ema=true"]
    config = load_config("shapes_r18", [*SMALL, *settings])
    with pytest.raises(UserError, match="train.init_ema: .* goes with a .pth file"):
        initialise(build_model(config), config)


def test_a_tensor_that_is_no_copy_stays_unexpected(sets, tmp_path):
    state = {**sets[0], "ema_other": np.zeros(2, np.float32)}
    file = read_torch_file(write_torch_file(tmp_path / "a.pth", {"state_dict": state}))
    with pytest.raises(UserError, match="1 unexpected: ema_other"):
        import_weights(
            file, load_config("shapes_r18", SMALL), tmp_path / "m.weights.h5", "FILE"
        )


def test_a_backbone_takes_the_first_set(sets, tmp_path):
    first, second = map(backbone_state, sets)
    path = write_torch_file(tmp_path / "b.pth", mmcv(first, second))
    settings = [f"model.backbone.pretrained={path}"]
    config = load_config("shapes_r18", [*SMALL, *settings])
    model = build_model(config)
    initialise(model, config)
    for name, weight in weights_by_path(model).items():
        if name.startswith("backbone/"):
            expected = to_ours(name, sets[0][reference_key(name)])
            np.testing.assert_array_equal(weight.numpy(), expected, err_msg=name)
