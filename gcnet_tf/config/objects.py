"""Objects that a configuration names, as Keras names them."""

from pydantic import Field
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
