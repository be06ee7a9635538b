"""A training compares the folded model with the trained one at its first evaluation."""

import pytest
from training.runs import records

from gcnet_tf.errors import UserError
from gcnet_tf.evaluation import agreement
from gcnet_tf.models import inference_graph
from gcnet_tf.training import train

pytestmark = pytest.mark.usefixtures("shallow")


def test_once_per_run(tiny_config, tmp_path, monkeypatch):
    checked = []
    check_fold = agreement.check_fold

    def count(model, predict):
        checked.append(model)
        check_fold(model, predict)

    monkeypatch.setattr(agreement, "check_fold", count)
    run = train(tiny_config(), tmp_path / "run")
    assert len(records(run, "val")) == 2 and len(checked) == 1


def test_a_broken_fold_ends_the_training_with_a_sentence(
    tiny_config, tmp_path, monkeypatch
):
    value = inference_graph._folded_value
    monkeypatch.setattr(
        inference_graph, "_folded_value", lambda *arguments: 1.01 * value(*arguments)
    )
    with pytest.raises(UserError, match="gives other logits than the trained model"):
        train(tiny_config(), tmp_path / "run")
    assert not records(tmp_path / "run", "val")
