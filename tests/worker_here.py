"""The TFLite conversion in the process of the tests: another takes seconds to start."""

import json

from gcnet_tf.export import tflite_worker


def run_worker(work, precision, names, num_images):
    """In place of `tflite._run_worker`, which other tests have as it is."""
    job = {"precision": precision, "outputs": names}
    (work / "job.json").write_text(json.dumps(job))
    tflite_worker.run(str(work))
