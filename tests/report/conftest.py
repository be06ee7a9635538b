"""Subjects of a report without a training: a network of colours, and a run by hand."""

import json

import numpy as np
import pytest

from gcnet_tf.config import load_config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.evaluation.load import protocol_settings
from gcnet_tf.report.counted.findings import Collector
from gcnet_tf.report.subjects import Subject
from gcnet_tf.runtime import Predictor
from gcnet_tf.runtime.predict import Network
from gcnet_tf.runtime.protocol import Protocol


@pytest.fixture
def make_subject(tmp_path):
    """Function that makes a subject with findings about drawn images.

    Its network weighs colours; another `seed` makes another one.
    """

    def make(config, seed=0, images=4, first=(), name="model", classes=None):
        facts = facts_of(config.data)
        classes = classes or facts.classes
        weights = np.random.default_rng(seed).normal(size=(3, len(classes))) / 40
        network = Network(lambda images: (images @ weights).astype(np.float32))
        protocol = Protocol.from_settings(protocol_settings(config, (0, 0, 0)))
        palette = facts.palette[: len(classes)]
        predictor = Predictor.of_network(network, protocol, classes, palette)
        subject = Subject(len(first), name, tmp_path, predictor, config, None)
        subject.kind = lambda: "drawn"
        labels = first[0].findings.labels if first else []
        collector = Collector(predictor, images, labels)
        for index in range(images):
            rng = np.random.default_rng(100 + index)
            image = rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)
            truth = rng.integers(0, len(classes), (24, 32)).astype(np.uint8)
            truth[:2] = 255
            collector.add(index, image, truth, predictor.labels(image))
        collector.finish()
        subject.findings = collector.findings
        subject.findings.metrics = collector.matrix.metrics()
        return subject

    return make


@pytest.fixture
def own_classes():
    """Function that makes a configuration with classes of a user."""

    def make(*classes):
        names = json.dumps(list(classes))
        settings = ["data.dataset=folder", f"data.classes={names}"]
        settings += ["data.palette=[]", "evaluation.scale=[32,24]"]
        return load_config("shapes_r18", [*settings, "data.records=nowhere"])

    return make
