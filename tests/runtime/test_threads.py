"""One predictor of each kind, shared by many threads, and taken into a fork."""

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from exported_files import write_onnx, write_saved_model, write_tflite
from helpers import random_image

from gcnet_tf.runtime import Predictor, backends
from gcnet_tf.runtime.manifest import LABELS

pytestmark = pytest.mark.usefixtures("shallow")

NUM_THREADS, NUM_CALLS = 6, 60
SIZE = (48, 64)  # which no protocol here resizes
IMAGES = [random_image(seed, *SIZE) for seed in range(NUM_THREADS)]


def keras_predictor(tiny_config):
    import keras

    from gcnet_tf.evaluation.load import predictor_from_model
    from gcnet_tf.models import build_model

    config = tiny_config("evaluation.scale=[64,48]")
    keras.utils.set_random_seed(0)
    model = build_model(config)
    kernel = model.decode_head.classifier.kernel
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape))
    return predictor_from_model(model, config)


WRITERS = {
    "tflite": lambda folder: write_tflite(folder, size=SIZE),
    "tflite_labels": lambda folder: write_tflite(folder, LABELS, SIZE),
    "onnx": write_onnx,
    "onnx_nchw": lambda folder: write_onnx(folder, layout="nchw", size=SIZE),
    "saved_model": write_saved_model,
}


@pytest.fixture(scope="module", params=[*WRITERS, "keras"])
def predictor(request, tiny_config, tmp_path_factory):
    if request.param == "keras":
        return keras_predictor(tiny_config)
    return Predictor(WRITERS[request.param](tmp_path_factory.mktemp(request.param)))


def test_every_thread_gets_the_answer_to_its_own_image(predictor):
    expected = [predictor.labels(image) for image in IMAGES]
    assert len({answer.tobytes() for answer in expected}) == NUM_THREADS
    start = Barrier(NUM_THREADS)

    def call(index):
        start.wait()
        answers = [predictor.labels(IMAGES[index]) for _ in range(NUM_CALLS)]
        return sum(np.array_equal(answer, expected[index]) for answer in answers)

    with ThreadPoolExecutor(NUM_THREADS) as pool:
        right = sum(pool.map(call, range(NUM_THREADS)))
    assert right == NUM_THREADS * NUM_CALLS


def refusal_in_a_fork(function):
    """Returns the text of the error that a function raises in a child process."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            function()
        except Exception as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)  # without what pytest does at its end
    os.close(writer)
    with open(reader) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


def test_a_fork_is_refused(predictor):
    predictor.labels(IMAGES[0])
    for values in (predictor.labels, predictor.logits, predictor.probabilities):
        refusal = refusal_in_a_fork(lambda: values(IMAGES[0]))
        assert f"was opened in process {os.getpid()}" in refusal
        assert refusal.endswith("Open the model in the process that uses it.")


def test_a_fork_opens_files_of_its_own_without_tensorflow(tmp_path):
    path = write_onnx(tmp_path)
    Predictor(path).labels(IMAGES[0])
    assert refusal_in_a_fork(lambda: Predictor(path).labels(IMAGES[0])) == ""


def test_a_fork_cannot_open_a_saved_model_where_tensorflow_was_used(tmp_path):
    """TensorFlow would wait forever for threads that the fork does not have."""
    path = write_saved_model(tmp_path)
    Predictor(path)
    assert backends.SavedModel._process == os.getpid()
    refusal = refusal_in_a_fork(lambda: Predictor(path))
    assert f"a fork of process {os.getpid()}, which has used TensorFlow" in refusal
    assert '"spawn"' in refusal
