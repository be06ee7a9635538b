"""Objects that a configuration names, as Keras names them."""

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from gcnet_tf.config.values import STRICT


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
