"""TFLite conversion in the process of the tests, which saves starting another."""

import json

from gcnet_tf.export import tflite_worker


def run_worker(work, precision, names, num_images):
    """Replaces `tflite._run_worker`, which other tests use unchanged."""
    job = {"precision": precision, "outputs": names}
    (work / "job.json").write_text(json.dumps(job))
    tflite_worker.run(str(work))
