import os
import subprocess
import sys
import warnings

import pytest

from gcnet_tf import cli
from gcnet_tf.config import load_config
from gcnet_tf.errors import UserError


def outcome(main):
    with pytest.raises(SystemExit) as end:
        cli.run(main)
    return end.value.code


def test_exit_codes(capsys):
    def bad_input():
        raise UserError("No such thing.")

    def interrupted():
        raise KeyboardInterrupt

    assert outcome(lambda: None) == 0
    assert outcome(lambda: 3) == 3
    assert outcome(bad_input) == 2
    assert capsys.readouterr().err == "Error: No such thing.\n"
    assert outcome(interrupted) == 130


def test_errors_of_ours_keep_their_traceback():
    def bug():
        raise KeyError("bug")

    with pytest.raises(KeyError):
        cli.run(bug)


def test_warnings_are_one_line():
    def warned():
        print(
            warnings.formatwarning("Mind the gap.", UserWarning, "file.py", 1), end=""
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warnings, "formatwarning", warnings.formatwarning)
        outcome(warned)
        assert warnings.formatwarning("Mind it.", UserWarning, "f", 1) == (
            "Warning: Mind it.\n"
        )


def test_tensorflow_starts_without_a_word_but_errors_are_shown():
    code = (
        "from gcnet_tf import cli; import os; cli.start_tensorflow(); "
        "os.write(2, b'after')"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_CPP")}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stderr == "after"


@pytest.mark.parametrize(
    "line, shown",
    [
        ("I0000 00:00:17 1 port.cc:153] oneDNN custom operations are on.", False),
        ("WARNING: All log messages before absl::InitializeLog()", False),
        ("E0000 00:00:17 1 cuda_platform.cc:52] failed call to cuInit: X", False),
        ("W0000 00:00:17 1 gpu_device.cc:1] Cannot dlopen some GPU libraries.", True),
    ],
)
def test_what_counts_as_noise(line, shown):
    assert (cli._START_UP_NOISE.match(line) is None) == shown


@pytest.mark.parametrize(
    "mode, expected",
    [
        (None, ("slide", True)),
        ("whole", ("whole", False)),
        ("slide", ("slide", False)),
        # Multi-scale and flip, each seen as the configuration says.
        ("ms_flip", ("slide", True)),
    ],
)
def test_modes_of_evaluation(mode, expected):
    before = ["evaluation.mode=slide", "evaluation.ms_flip=true"]
    config = load_config("shapes_r18", [*before, *cli.mode_overrides(mode)])
    assert (config.evaluation.mode, config.evaluation.ms_flip) == expected
