"""The records of commands that evaluate: made only where the user says where."""

from collections.abc import Sequence

from gcnet_tf.config import Config


def ready_records(
    config: Config, split: str, model: str | None, settings: Sequence[str]
) -> None:
    """Checks that the records of a split are up to date, or makes them.

    Records of a `--cfg` are made. Those of a `--model`, which may be a stranger's, are
    made only where `--set` says both where images are and where records go.

    Args:
        config: names the records.
        split: the split.
        model: `--model`; None where the user gave `--cfg` alone.
        settings: `--set`.

    Raises:
        UserError: as `checked_records` and `require_records`.
    """
    # Imported here, because they load TensorFlow, which a command starts quietly.
    from gcnet_tf.data.check.conversion import checked_records
    from gcnet_tf.data.prepare import require_records

    keys = {setting.partition("=")[0] for setting in settings}
    if model is None or {"data.root", "data.records"} <= keys:
        checked_records(config, [split])
    else:
        require_records(config, [split], model)
