"""The command `export`, ended by a signal while its converter works."""

import signal
import time
from pathlib import Path

import pytest

from gcnet_tf.config import config_to_dict, format_json
from gcnet_tf.models import build_model


@pytest.fixture(scope="module")
def run_folder(tiny_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    config = tiny_config()
    (folder / "config.json").write_text(format_json(config_to_dict(config)))
    build_model(config).save_weights(folder / "best.weights.h5")
    return folder


def wait_for(condition):
    """Waits for a condition, and returns its first true value."""
    end = time.monotonic() + 120
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return value


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_the_converter_ends_with_its_command(sent, run_folder, scripts, tmp_path):
    temporary, out = tmp_path / "temporary", tmp_path / "out"
    temporary.mkdir()
    arguments = ["--model", run_folder, "--out", out, "--format", "tflite"]
    environment = {"TMPDIR": str(temporary)}
    with scripts.start("export", *arguments, environment=environment) as export:

        def converter():
            tasks = Path(f"/proc/{export.pid}/task").glob("*/children")
            return [int(pid) for task in tasks for pid in task.read_text().split()]

        wait_for(lambda: export.poll() is not None or converter())
        assert export.poll() is None, export.stdout
        (child,) = converter()
        export.send_signal(sent)
        outcome = export.wait(timeout=60)
    assert outcome.code == (143 if sent == signal.SIGTERM else -signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{child}/cmdline").exists())
    if sent == signal.SIGTERM:
        assert "Traceback" not in outcome.stderr
        assert not list(temporary.iterdir())
        assert not list(out.iterdir()) and not list(tmp_path.glob("*.lock"))
