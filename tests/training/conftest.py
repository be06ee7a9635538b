"""Stand-ins for the slow parts of a training, for tests of the other parts."""

import keras
import pytest
import tensorflow as tf

from gcnet_tf.data.catalog import facts_of
from gcnet_tf.evaluation.load import protocol_settings
from gcnet_tf.runtime import Predictor
from gcnet_tf.runtime.predict import Network
from gcnet_tf.runtime.protocol import Protocol


class Toy(keras.Model):
    """A network that classifies pixels by colour, with a layer for each output."""

    def __init__(self, num_classes: int):
        super().__init__(name="gcnet")
        self.decode_head = keras.layers.Dense(num_classes, name="decode_head")
        self.auxiliary_head = keras.layers.Dense(num_classes, name="auxiliary_head")

    def build(self, input_shape):
        self.decode_head.build(input_shape)
        self.auxiliary_head.build(input_shape)
        self.built = True

    def call(self, images, valid_size=None, dropout_seeds=None, training=False):
        colours = tf.cast(images, tf.float32) / 255
        logits = {"logits": self.decode_head(colours)}
        if training:
            logits["aux_logits"] = self.auxiliary_head(colours)
        return logits


@pytest.fixture
def plain_predictor(monkeypatch):
    """Evaluates with the trained network itself, neither folded nor frozen.

    The rest of an evaluation is real: records, protocol, metrics, panels.
    """

    def make_predictor(model, config, fold_is_checked, devices):
        def logits(images):
            return model(images)["logits"].numpy()

        network = Network(logits, pixels=2**19)
        protocol = Protocol.from_settings(protocol_settings(config, (0, 0, 0)))
        facts = facts_of(config.data)
        return Predictor.of_network(network, protocol, facts.classes, facts.palette)

    monkeypatch.setattr(
        "gcnet_tf.training.validation.predictor_from_model", make_predictor
    )


@pytest.fixture
def toy_network(monkeypatch, plain_predictor):
    """Trains a network of four weights, which is built and traced quickly.

    Steps, checkpoints and everything around them are real. It is not for tests that
    depend on a layer of the network: gradients, precision, replicas.
    """

    def build(config):
        model = Toy(facts_of(config.data).num_classes)
        model.build((None, None, None, 3))
        return model

    monkeypatch.setattr("gcnet_tf.training.loop.build_model", build)
