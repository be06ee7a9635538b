import json
import os

import h5py
import keras
import numpy as np
import pytest

from gcnet_tf import compat
from gcnet_tf.errors import UserError
from gcnet_tf.models import ResNet
from gcnet_tf.training.checkpoints import (
    read_values,
    restore_checkpoint,
    save_best,
    save_checkpoint,
)
from gcnet_tf.training.optimization.optimizers import CoupledSGD, optimizer_state
from gcnet_tf.weights.files import (
    WEIGHTS_FILE,
    list_checkpoints,
    load_weights,
    newest_checkpoint,
    save_weights,
    weights_of_run,
)


def trainee(width=3):
    dense = keras.layers.Dense(width, name="dense")
    model = keras.Sequential([keras.Input((2,)), dense])
    optimizer = CoupledSGD(0.1)
    compat.build_optimizer(optimizer, model)
    return model, optimizer


def one_step(model, optimizer):
    ones = [np.ones(weight.shape, np.float32) for weight in model.trainable_weights]
    compat.apply_gradients(optimizer, ones, model.trainable_weights)


def save(run, iteration, model, optimizer, keep=3):
    state = {"iteration": iteration, "best_miou": 0.5}
    return save_checkpoint(run, model, read_values(model, optimizer), state, keep)


def test_restores_weights_velocity_and_state(tmp_path):
    model, optimizer = trainee()
    one_step(model, optimizer)
    checkpoint = save(tmp_path, 7, model, optimizer)
    second_model, second_optimizer = trainee()
    state = restore_checkpoint(checkpoint, second_model, second_optimizer)
    assert state == {"iteration": 7, "best_miou": 0.5}
    assert second_optimizer.iterations.numpy() == 1
    # The next step depends on weights and velocity alike.
    one_step(model, optimizer)
    one_step(second_model, second_optimizer)
    for value, restored in zip(model.get_weights(), second_model.get_weights()):
        np.testing.assert_array_equal(value, restored)


def test_the_same_values_are_written_once(tmp_path):
    model, optimizer = trainee()
    checkpoint = save(tmp_path, 7, model, optimizer)
    files = [checkpoint / WEIGHTS_FILE, checkpoint / "optimizer.npz"]

    def written_again(due):
        """Saves, and tells whether the files have been written."""
        for file in files:
            os.utime(file, (0, 0))
        state = {"iteration": 7, "evaluation_due": due}
        save_checkpoint(tmp_path, model, read_values(model, optimizer), state, keep=3)
        assert restore_checkpoint(checkpoint, *trainee()) == state
        return all(file.stat().st_mtime > 0 for file in files)

    assert not written_again(True)
    flip(files[1], 100)
    assert written_again(False)
    assert not written_again(True)
    one_step(model, optimizer)  # as a callback at the end of an evaluation may
    assert written_again(False)


def test_keeps_the_newest(tmp_path):
    model, optimizer = trainee()
    for iteration in (5, 10, 100):
        save(tmp_path, iteration, model, optimizer, keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "00000010",
        "00000100",
    ]


def test_a_half_written_checkpoint_does_not_count(tmp_path):
    model, optimizer = trainee()
    save(tmp_path, 5, model, optimizer)
    for iteration in (3, 10):  # of runs that were killed
        (tmp_path / "checkpoints" / f"partial-{iteration:08d}").mkdir()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["00000005"]
    save(tmp_path, 10, model, optimizer)
    save(tmp_path, 15, model, optimizer, keep=2)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {
        "00000010",
        "00000015",
    }


FILES = ["state.json", WEIGHTS_FILE, "optimizer.npz"]


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("file", FILES)
def test_the_newest_intact_checkpoint_is_used(file, tmp_path):
    for iteration in (5, 10, 20):
        newest = save(tmp_path, iteration, *trainee())
    assert newest_checkpoint(tmp_path) == newest
    flip(newest / file, (newest / file).stat().st_size // 2)
    with pytest.warns(UserWarning, match=f"Passing over .*00000020.*{file}.*damaged"):
        assert newest_checkpoint(tmp_path).name == "00000010"
    with pytest.warns(UserWarning):
        assert weights_of_run(tmp_path).parent.name == "00000010"
    # In a run that resumes there, damaged checkpoints must not replace intact ones.
    save(tmp_path, 15, *trainee(), keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "00000010",
        "00000015",
    ]


@pytest.mark.parametrize(
    "text, reason",
    [
        ("[" * 200_000, "recursion"),
        ("[]", "no attribute"),
        # Reading it would never end.
        ('{"iteration": 5, "files": {"/dev/zero": ""}}', "lists the file '/dev/zero'"),
        ('{"iteration": 5, "files": {"../x": ""}}', "lists the file '../x'"),
    ],
)
def test_a_state_that_training_has_not_written(text, reason, tmp_path):
    checkpoint = save(tmp_path, 5, *trainee())
    (checkpoint / "state.json").write_text(text)
    with pytest.warns(UserWarning, match=reason), pytest.raises(UserError):
        newest_checkpoint(tmp_path)


def test_no_intact_checkpoint_is_an_error(tmp_path):
    for iteration in (5, 10):
        (save(tmp_path, iteration, *trainee()) / "optimizer.npz").unlink()
    with pytest.warns(UserWarning), pytest.raises(UserError, match="Every checkpoint"):
        newest_checkpoint(tmp_path)


def test_a_checkpoint_of_an_older_version_is_used(tmp_path):
    checkpoint = save(tmp_path, 5, *trainee())
    (checkpoint / "state.json").write_text('{"iteration": 5, "best_miou": 0.5}')
    assert newest_checkpoint(tmp_path) == checkpoint
    assert restore_checkpoint(checkpoint, *trainee())["best_miou"] == 0.5


def test_optimiser_variables_of_an_older_version_have_no_names(tmp_path):
    model, optimizer = trainee()
    one_step(model, optimizer)
    checkpoint = save(tmp_path, 5, model, optimizer)
    with np.load(checkpoint / "optimizer.npz") as arrays:
        values = dict(arrays)
    (checkpoint / "state.json").write_text('{"iteration": 5, "best_miou": 0.5}')
    np.savez(checkpoint / "optimizer.npz", *values.values())
    second_model, second_optimizer = trainee()
    restore_checkpoint(checkpoint, second_model, second_optimizer)
    for name, variable in optimizer_state(second_optimizer).items():
        np.testing.assert_array_equal(variable.numpy(), values[name], err_msg=name)
    assert values["velocity/dense/kernel"].all()


def test_another_optimisers_variables_are_refused(tmp_path):
    checkpoint = save(tmp_path, 5, *trainee())
    model, _ = trainee()
    adam = keras.optimizers.Adam()
    compat.build_optimizer(adam, model)
    with pytest.raises(UserError, match="another optimiser .* train.init_from=.*00005"):
        restore_checkpoint(checkpoint, model, adam)


def test_damaged_weights_are_not_loaded(tmp_path):
    save_best(tmp_path, trainee()[0], {"mIoU": 0.5})
    best = tmp_path / "best.weights.h5"
    flip(best, best.stat().st_size // 2)
    with pytest.raises(UserError, match="best.weights.h5 is damaged"):
        load_weights(trainee()[0], best)


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_checkpoint_is_refused_by_name(file, tmp_path):
    model, optimizer = trainee()
    checkpoint = save(tmp_path, 5, model, optimizer)
    (checkpoint / file).write_bytes(b"damaged")
    with pytest.raises(UserError, match="Cannot resume from .*00000005"):
        restore_checkpoint(checkpoint, *trainee())


def test_weights_of_another_model_are_refused(tmp_path):
    model, optimizer = trainee()
    checkpoint = save(tmp_path, 5, model, optimizer)
    with pytest.raises(UserError, match="do not fit"):
        load_weights(trainee(width=4)[0], checkpoint / WEIGHTS_FILE)


@pytest.mark.parametrize("name", ["missing.weights.h5", "wrong_name.h5"])
def test_files_that_hold_no_weights_are_refused(name, tmp_path):
    (tmp_path / "wrong_name.h5").write_bytes(b"")
    with pytest.raises(UserError, match=name):
        load_weights(trainee()[0], tmp_path / name)


def test_weights_of_a_run_are_the_best_else_the_newest(tmp_path):
    with pytest.raises(UserError, match="no checkpoint yet"):
        weights_of_run(tmp_path)
    model, optimizer = trainee()
    newest = save(tmp_path, 5, model, optimizer)
    assert weights_of_run(tmp_path) == newest / WEIGHTS_FILE
    save_best(tmp_path, model, {"iteration": 5, "mIoU": 0.5})
    assert weights_of_run(tmp_path).name == "best.weights.h5"
    assert '"mIoU": 0.5' in (tmp_path / "best.json").read_text()


def best_of(run):
    """Reads the number and the weights of "best"."""
    model, _ = trainee()
    load_weights(model, run / "best.weights.h5")
    metrics = run / "best.json"
    number = json.loads(metrics.read_text())["mIoU"] if metrics.exists() else None
    return number, model.get_weights()[0].tolist()


def test_better_best_weights_stay(tmp_path):
    good, bad = trainee()[0], trainee()[0]
    save_best(tmp_path, good, {"mIoU": 0.5})
    save_best(tmp_path, bad, {"mIoU": 0.1})
    assert best_of(tmp_path) == (0.5, good.get_weights()[0].tolist())
    save_best(tmp_path, bad, {"mIoU": 0.6})
    assert best_of(tmp_path) == (0.6, bad.get_weights()[0].tolist())


@pytest.mark.parametrize("moment", ["save_weights", "write_text"])
def test_an_end_between_weights_and_number_never_pairs_them_wrongly(
    moment, tmp_path, monkeypatch
):
    old, new, worse = (trainee()[0] for _ in range(3))
    save_best(tmp_path, old, {"mIoU": 0.5})

    def end(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"gcnet_tf.training.checkpoints.{moment}", end)
        with pytest.raises(KeyboardInterrupt):
            save_best(tmp_path, new, {"mIoU": 0.6})
    written = moment == "write_text"
    best = new if written else old
    assert best_of(tmp_path) == (
        None if written else 0.5,
        best.get_weights()[0].tolist(),
    )
    save_best(tmp_path, worse, {"mIoU": 0.4})
    assert best_of(tmp_path)[1] == best.get_weights()[0].tolist()
    save_best(tmp_path, new, {"mIoU": 0.6})  # the evaluation is repeated
    assert best_of(tmp_path) == (0.6, new.get_weights()[0].tolist())


def test_best_weights_of_an_older_version_have_their_number_beside_them(tmp_path):
    model, _ = trainee()
    save_weights(model, tmp_path / "best.weights.h5")
    (tmp_path / "best.json").write_text('{"mIoU": 0.5}')
    save_best(tmp_path, trainee()[0], {"mIoU": 0.4})
    assert best_of(tmp_path) == (0.5, model.get_weights()[0].tolist())


def test_weights_of_another_depth_are_refused_and_none_is_left_random(tmp_path):
    def model(depth):
        backbone = ResNet(depth, base_channels=4, name="backbone")
        backbone.build((None, None, None, 3))
        outputs = backbone(inputs := keras.Input((None, None, 3)))
        return keras.Model(inputs, outputs)

    save_weights(model(18), tmp_path / "r18.weights.h5")
    with pytest.raises(UserError, match="do not fit"):
        load_weights(model(34), tmp_path / "r18.weights.h5")


def test_a_weights_file_names_the_layers(tmp_path):
    """Lists of lists would become numbered containers, which older versions lose."""
    backbone = ResNet(18, base_channels=4)
    backbone.build((None, None, None, 3))
    inputs = keras.Input((None, None, 3))
    save_weights(keras.Model(inputs, backbone(inputs)), tmp_path / "m.weights.h5")
    names = []
    with h5py.File(tmp_path / "m.weights.h5") as file:
        file.visit(names.append)
    assert any(name.endswith("stage4_block2/conv2/conv/vars/0") for name in names)
    assert not any("container" in name for name in names)
