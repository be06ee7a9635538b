"""Objects that a configuration names, as Keras names them."""

from dataclasses import dataclass

from gcnet_tf.config.setting import setting


@dataclass(frozen=True)
class ObjectConfig:
    """A class by its name, and what it is made with."""

    class_name: str = setting(
        "",
        "Name of a class of Keras, such as AdamW, or one that a module of "
        "custom_imports registers, such as my_package>MyLoss; must be given.",
    )
    config: dict = setting(
        dict,
        "Arguments of the class; an object with class_name and config among them is "
        "made first.",
    )
