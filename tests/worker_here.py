"""TFLite conversion in the process of the tests, and the processes of the others."""

import json
import subprocess

from gcnet_tf.export.tflite import export as tflite
from gcnet_tf.export.tflite import worker


def run_worker(work, precision, names, num_images):
    """Replaces `tflite._run_worker`, which other tests use unchanged."""
    job = {"precision": precision, "outputs": names}
    (work / "job.json").write_text(json.dumps(job))
    worker.run(str(work))


def started_workers(monkeypatch):
    """Returns a list that gets each process which a conversion starts."""
    started = []

    class Started(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(tflite.subprocess, "Popen", Started)
    return started
