"""Objects that a configuration names, as Keras names them."""

from pydantic import Field
from pydantic.dataclasses import dataclass

from gcnet_tf.config.values import STRICT


@dataclass(frozen=True, config=STRICT)
class ObjectConfig:
    """Names a class, and what it is made with."""

    class_name: str = ""
    """Name of a class of Keras, such as AdamW, or one that a module of custom_imports
    registers, such as my_package>MyLoss; must be given."""

    config: dict = Field(default_factory=dict)
    """Arguments of the class; an object with class_name and config among them is made
    first."""
