"""One setting: its default, meaning and allowed values in one place."""

import dataclasses
from typing import Any


def setting(
    default: Any,
    doc: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    choices: tuple | None = None,
) -> Any:
    """A dataclass field with its documentation and its range.

    The range holds for every element of a tuple. A default that is a dataclass type
    makes a section.
    """
    metadata = {
        "doc": doc,
        "at_least": at_least,
        "above": above,
        "at_most": at_most,
        "choices": choices,
    }
    if isinstance(default, type):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)
