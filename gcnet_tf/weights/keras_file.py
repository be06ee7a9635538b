"""A look at a .keras file before Keras makes objects of what it describes.

What Keras itself refuses depends on its version (CVE-2025-1550, CVE-2025-9906,
CVE-2026-1462), and 2.15 gets no corrections any more. A model of ours needs one class.
"""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gcnet_tf.config.json_text import parse_json
from gcnet_tf.weights.hdf5_file import check_hdf5

_MODEL = "gcnet_tf>Segmentor"
_POLICIES = ("DTypePolicy", "Policy")
_WEIGHTS = "model.weights.h5"
_MAX_CONFIG_BYTES = 2**20


def check_keras_file(path: Path) -> None:
    """Checks that a .keras file describes a model of ours and nothing else.

    Raises:
        ValueError: when it does not, or is damaged.
    """
    num_bytes = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            # Keras does not compress, but a zip bomb does.
            if sum(member.file_size for member in members) > num_bytes:
                raise ValueError("its members are larger than itself")
            if archive.getinfo("config.json").file_size > _MAX_CONFIG_BYTES:
                raise ValueError("its config.json is too large")
            text = archive.read("config.json").decode()
            weights = archive.read(_WEIGHTS)
    except (zipfile.BadZipFile, KeyError, RuntimeError) as error:
        raise ValueError(f"it is no archive of Keras: {error}") from error
    _check_config(parse_json(text, str(path)))
    check_hdf5(io.BytesIO(weights), len(weights))


def _check_config(config: Any) -> None:
    if not isinstance(config, dict) or config.get("registered_name") != _MODEL:
        raise ValueError("its model is none of gcnet_tf")
    for described in _described(config.get("config")):
        policy = described.get("config")
        if described.get("class_name") not in _POLICIES or not (
            isinstance(policy, dict) and set(policy) <= {"name", "source_name"}
        ):
            name = str(described.get("class_name"))[:100]
            raise ValueError(f"it describes an object {name!r}")


def _described(value: Any) -> Iterator[dict[str, Any]]:
    """Yields the descriptions from which Keras itself would make objects.

    Those of `make_object`, which has its own rules, lack a module.
    """
    if isinstance(value, dict):
        if "module" in value or "registered_name" in value:
            yield value
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from _described(item)
