"""Keras classes by name, built-in and registered ones, and objects of them."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from gcnet_tf import compat
from gcnet_tf.errors import first_line

# By kind of class: the module of the built-in classes, and the base classes.
KINDS: dict[str, tuple[Any, tuple[type, ...]]] = {
    "optimizer": (keras.optimizers, compat.OPTIMIZERS),
    "loss": (keras.losses, (keras.losses.Loss,)),
    "metric": (keras.metrics, (keras.metrics.Metric,)),
    "callback": (keras.callbacks, (keras.callbacks.Callback,)),
    "layer": (keras.layers, (keras.layers.Layer,)),
    "schedule": (
        keras.optimizers.schedules,
        (keras.optimizers.schedules.LearningRateSchedule,),
    ),
    "initializer": (keras.initializers, (keras.initializers.Initializer,)),
    "regularizer": (keras.regularizers, (keras.regularizers.Regularizer,)),
}


# Built-in classes that run, or read, what their arguments name. Keras refuses them in
# model files, but not where their constructor is called (CVE-2026-1462, keras#23654),
# as here. Configurations come from others, too.
REFUSED = {
    "Lambda": "calls any function",
    "LambdaCallback": "calls any function",
    "TFSMLayer": "runs the graph of a SavedModel",
    "TorchModuleWrapper": "runs a module of PyTorch",
    "JaxLayer": "calls any function",
    "FlaxLayer": "calls any function",
    "StringLookup": "reads any file",
    "IntegerLookup": "reads any file",
    "TextVectorization": "reads any file",
}
# The keys of a description from which Keras itself would make an object.
_OF_KERAS = {"class_name", "module", "registered_name"}


class NamedObjectError(ValueError):
    """A name that has no class, or a class that refuses its arguments.

    The message begins with the setting that holds the name, as in "context_layer: …".
    """


class UnknownClass(NamedObjectError):
    """A name that no class of the wanted kind has."""

    def __init__(self, name: str, kind: str, place: str):
        candidates = classes_of(kind)
        registered = keras.saving.get_custom_objects()
        known = sorted(set(candidates) & set(registered))
        builtin = sorted(set(candidates) - set(registered) - set(REFUSED))
        near = difflib.get_close_matches(name[:100], builtin, n=5, cutoff=0)
        state = (
            f"which is registered, but no {kind}" if name in registered else "not known"
        )
        super().__init__(
            f"{place}: received {name}, {state}; allowed: "
            f"{', '.join(known) or 'nothing'} as registered by modules so far, or a "
            f"{kind} of Keras ({', '.join(near)}, …). Add the module that registers it "
            "to custom_imports."
        )
        self.name = name
        self.place = place


def classes_of(kind: str) -> dict[str, type]:
    """Collects all classes of a kind by their names."""
    module, bases = KINDS[kind]
    items: Sequence[tuple[str, Any]] = [
        *((name, getattr(module, name)) for name in dir(module) if name[0] != "_"),
        *keras.saving.get_custom_objects().items(),
    ]
    return {
        name: value
        for name, value in items
        if isinstance(value, type) and issubclass(value, bases) and value not in bases
    }


def find_class(name: str, kind: str, place: str) -> type:
    """Looks up a class of a kind.

    Raises:
        UnknownClass: when no class has this name.
        NamedObjectError: when it is one of `REFUSED`.
    """
    candidates = classes_of(kind)
    if name not in candidates:
        raise UnknownClass(name, kind, place)
    cls = candidates[name]
    if name in REFUSED and cls is getattr(KINDS[kind][0], name, None):
        raise NamedObjectError(
            f"{place}: received {name}, which {REFUSED[name]}, and a configuration may "
            f"come from others; allowed: any other {kind} of Keras, or one of your own "
            "in a module of custom_imports."
        )
    return cls


def make_object(
    kind: str,
    named: Mapping[str, Any],
    place: str,
    arguments: Mapping[str, Any] | None = None,
) -> Any:
    """Makes the object that `{"class_name": …, "config": …}` describes.

    Args:
        kind: one of `KINDS`.
        named: class name and arguments, which may hold objects of the same form.
        place: the name of the argument or setting, for messages.
        arguments: further arguments; those of an optimizer go to the innermost one.

    Raises:
        NamedObjectError: when there is no such class, or it refuses its arguments.
    """
    name, config = named["class_name"], named["config"]
    cls = find_class(name, kind, place)
    kwargs = {
        key: _argument(value, f"{place}.config.{key}") for key, value in config.items()
    }
    inner = config.get("optimizer")
    if kind == "optimizer" and is_named(inner):
        kwargs["optimizer"] = make_object(
            kind, inner, f"{place}.config.optimizer", arguments
        )
    else:
        kwargs |= arguments or {}
    try:
        return cls(**kwargs)
    # A class of the user may raise any exception.
    except Exception as error:
        raise NamedObjectError(
            f"{place}: {name} does not take these arguments: {first_line(error)}"
        ) from error


def is_of_keras(cls: type) -> bool:
    """Tells whether a class is one of Keras' own, on either stack."""
    return cls.__module__.startswith("keras.")


def is_named(value: Any) -> bool:
    """Tells whether a value describes an object for `make_object`."""
    return isinstance(value, dict) and value.keys() == {"class_name", "config"}


def _argument(value: Any, place: str) -> Any:
    if isinstance(value, list):
        return [_argument(item, place) for item in value]
    if isinstance(value, dict) and not is_named(value):
        if keys := _OF_KERAS & value.keys():
            raise NamedObjectError(
                f"{place}: received an object with {', '.join(sorted(keys))}; allowed: "
                "a class_name and a config, or none of these keys."
            )
        return {key: _argument(v, f"{place}.{key}") for key, v in value.items()}
    if not isinstance(value, dict):
        return value
    kinds = [kind for kind in KINDS if value["class_name"] in classes_of(kind)]
    return make_object(kinds[0] if kinds else "layer", value, place)
