"""Configurations with random changes: each is valid, or refused in a sentence."""

import copy
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from gcnet_tf.config import Config, config_to_dict, load_config
from gcnet_tf.config.load import config_from_dict
from gcnet_tf.config.parse import settings_by_path
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.data.sources.find import deciding_settings
from gcnet_tf.errors import UserError
from gcnet_tf.runtime.windows import keep_ratio_size, scales_of, windows

_STARTS = [
    config_to_dict(load_config(name))
    for name in ("shapes_r18", "template_folder", "cityscapes_r50_769x769_40k")
]
_LONGEST_MESSAGE = 1000
# Windows are planned only up to this number; a stride of one pixel makes a million.
_MANY_WINDOWS = 10**5

_numbers = st.one_of(
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
    st.sampled_from([0, 1, 2**31, 10**400, 1e308, 5e-324, 0.5, 1e-9]),
)
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    _numbers,
    st.text(max_size=8),
    st.sampled_from(
        ["", "slide", "folder", "cityscapes", "auto", "skip", "../x", "\0"]
    ),
)
_values: SearchStrategy[Any] = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=6), inner, max_size=3),
    ),
    max_leaves=8,
)
_paths = [path for path in settings_by_path() if "[]" not in path]


@st.composite
def changed_settings(draw) -> str:
    """Draws the JSON of a shipped configuration with one to four changed settings."""
    raw = copy.deepcopy(draw(st.sampled_from(_STARTS)))
    for _ in range(draw(st.integers(1, 4))):
        *above, last = draw(st.sampled_from(_paths)).split(".")
        section = raw
        for key in above:
            section = section.setdefault(key, {}) if isinstance(section, dict) else {}
        if not isinstance(section, dict):
            continue
        change = draw(st.sampled_from(["value", "value", "value", "delete", "rename"]))
        if change == "value":
            section[last] = draw(_values | _nearby(section.get(last)))
        else:
            old = section.pop(last, None)
            if change == "rename":
                section[draw(st.text(max_size=8))] = old
    return json.dumps(raw)


@st.composite
def changed_text(draw) -> str:
    """Draws the text of a configuration with a piece removed, doubled or replaced."""
    text = json.dumps(_STARTS[0], indent=1)
    start = draw(st.integers(0, len(text)))
    end = min(start + draw(st.integers(0, 40)), len(text))
    piece = draw(
        st.one_of(st.just(""), st.just(2 * text[start:end]), st.text(max_size=9))
    )
    return text[:start] + piece + text[end:]


def _nearby(value: Any) -> SearchStrategy[Any]:
    """Returns a strategy for values of the same kind, which pass the first check."""
    if isinstance(value, bool) or value is None:
        return st.booleans()
    if isinstance(value, int):
        return st.integers(0, 2 * abs(value) + 4)
    if isinstance(value, float) and math.isfinite(value):
        return st.floats(0, min(4 * abs(value) + 1, 1e300))
    if isinstance(value, list):
        inner = _nearby(value[0]) if value else _scalars
        return st.lists(inner, max_size=len(value) + 1)
    return _values


def check(text: str, path: Path) -> str:
    """Loads a configuration and plans with it.

    Exceptions other than a `UserError`, and errors with a bad message, are raised.

    Returns:
        "valid", or "refused" after an error with a good message.
    """
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        config = load_config(path)
        plan(config)
    except UserError as error:
        message = str(error)
        assert message.strip() and "Traceback" not in message
        assert len(message) < _LONGEST_MESSAGE and "\n" not in message, message
        return "refused"
    return "valid"


def plan(config: Config) -> None:
    """Computes all that follows from a configuration without TensorFlow."""
    assert config_from_dict(json.loads(json.dumps(config_to_dict(config)))) == config
    facts = facts_of(config.data)
    assert facts.num_classes == len(facts.palette)
    for split in ("train", "val"):
        json.dumps(deciding_settings(config.data, split))
    evaluation = config.evaluation
    for scale in [evaluation.scale, *scales_of(evaluation.scale, evaluation.ratios)]:
        height, width = keep_ratio_size(375, 500, scale)
        assert min(height, width) >= 1
        steps = math.ceil(height / evaluation.stride[0]) * math.ceil(
            width / evaluation.stride[1]
        )
        if evaluation.mode == "slide" and steps < _MANY_WINDOWS:
            assert list(windows(height, width, evaluation.window, evaluation.stride))


def fuzz(folder: Path, num_configurations: int, seed: int) -> Counter:
    """Checks changed configurations, and counts those that are "valid" and "refused".

    The error of the first one that ends in another way is raised, for a configuration
    that is made as small as possible.

    Args:
        folder: folder for a file.
        num_configurations: number of configurations to check.
        seed: decides the changes.
    """
    counts: Counter = Counter()
    path = folder / "changed.json"

    # Without a database and with a fixed seed every run checks the same ones.
    @settings(
        max_examples=num_configurations,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(st.one_of(changed_settings(), changed_settings(), changed_text()))
    def check_each(text: str) -> None:
        counts[check(text, path)] += 1

    hypothesis.seed(seed)(check_each)()
    return counts
