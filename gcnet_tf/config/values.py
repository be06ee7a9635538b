"""Parts of the configuration that several sections share: numbers and named objects."""

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from gcnet_tf.errors import UserError

# Strict: a value of another type is refused and not converted, because a silent
# conversion could change its meaning.
STRICT = ConfigDict(
    extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
)

Count = Annotated[int, Field(ge=1)]
Pixels = Count
Factor = Annotated[float, Field(gt=0)]
Byte = Annotated[int, Field(ge=0, le=255)]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=STRICT)
class ObjectConfig:
    """A class and the arguments that an object of it is made with."""

    class_name: str = ""
    """Name of a Keras class, such as AdamW, or of a class that a module of
    custom_imports registers, such as my_package>MyLoss; must be given."""

    config: dict = Field(default_factory=dict)
    """Arguments of the class. An argument that has a class_name and a config itself is
    made into an object first."""


def _of_name(name: str) -> tuple[ObjectConfig, ...]:
    return (ObjectConfig(class_name=name),)


# Objects, or one word, the name of a class that needs no arguments. It is read as an
# object with this name, so that the rest of the package sees objects alone.
if TYPE_CHECKING:
    ObjectsOrName = tuple[ObjectConfig, ...]
else:
    ObjectsOrName = tuple[ObjectConfig, ...] | Annotated[str, AfterValidator(_of_name)]


def given(section: Any, cls: type, *without: str) -> dict[str, Any]:
    """Returns the settings of `cls` that are not null in a section, by name."""
    names = (field.name for field in fields(cls) if field.name not in without)
    values = {name: getattr(section, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def shown(value: Any) -> str:
    """Returns a received value as JSON text, cut to at most 60 characters."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def require(condition: bool, message: str) -> None:
    """Raises a UserError with this message, which gets its full stop, unless true."""
    if not condition:
        raise UserError(f"{message}.")
