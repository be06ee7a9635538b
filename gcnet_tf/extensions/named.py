"""Classes that a configuration names: Keras' own, or registered by modules it imports.

The modules are imported when the first name is looked up, so that a configuration is
read without TensorFlow.
"""

import difflib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from typing import Any

import keras

from gcnet_tf import compat
from gcnet_tf.config import Config
from gcnet_tf.config.validate import named_objects
from gcnet_tf.errors import UserError, first_line
from gcnet_tf.extensions import addons

# What kind of class a setting names: where Keras has its own, and what they are.
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

_KIND_OF = {
    "model.head.context_layer": "layer",
    "augment.layer": "layer",
    "train.optimizer": "optimizer",
    "train.loss": "loss",
    "train.metrics": "metric",
    "train.callbacks": "callback",
}


def import_modules(config: Config) -> None:
    """Imports what `custom_imports` lists.

    Raises:
        UserError: when one cannot be imported, or is tensorflow-addons on a stack that
            has none.
    """
    if config.custom_imports and os.getcwd() not in sys.path:
        # At the end: nothing that lies there hides an installed package.
        sys.path.append(os.getcwd())
    for name in config.custom_imports:
        if addons.needs_addons(name) and not compat.MAY_HAVE_ADDONS:
            objects = map(asdict, named_objects(config).values())
            wanted = [name for named in objects for name in _names_in(named)]
            raise UserError(f"custom_imports: received {name}. {addons.advice(wanted)}")
        try:
            with compat.without_farewell():
                import_module(name)
        # A module of the user's may raise anything.
        except Exception as error:
            raise UserError(
                f"custom_imports: cannot import {name} ({first_line(error)}); allowed: "
                f"installed modules, and files in {os.getcwd()}."
            ) from error


def check_names(config: Config) -> None:
    """Imports the modules, and looks every name up before any long work.

    Raises:
        UserError: when one is not there.
    """
    import_modules(config)
    for where, each in named_objects(config).items():
        _find(each.class_name, _KIND_OF[where.partition("[")[0]], where)


def make(
    kind: str, named: Mapping[str, Any], where: str, arguments: dict | None = None
) -> Any:
    """Makes what `{"class_name": …, "config": …}` names.

    Args:
        kind: one of `KINDS`.
        named: name and arguments. An argument of the same form is made first.
        where: the setting, for messages.
        arguments: further ones. `learning_rate` goes to the innermost optimizer.

    Raises:
        UserError: when no such class is there, or it refuses its arguments.
    """
    name, given = named["class_name"], named["config"]
    found = _find(name, kind, where)
    made = {key: _made(value, f"{where}.config.{key}") for key, value in given.items()}
    inner = given.get("optimizer")
    if kind == "optimizer" and _is_named(inner):
        made["optimizer"] = make(kind, inner, f"{where}.config.optimizer", arguments)
    else:
        made |= arguments or {}
    try:
        return found(**made)
    # A class of the user's may raise anything.
    except Exception as error:
        raise UserError(
            f"{where}: {name} does not take these arguments: {first_line(error)}"
        ) from error


def _names_in(value: Any) -> Iterator[str]:
    """The class names of a named object, and of those among its arguments."""
    if _is_named(value):
        yield value["class_name"]
        value = list(value["config"].values())
    for each in value if isinstance(value, list) else ():
        yield from _names_in(each)


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"class_name", "config"}


def _made(value: Any, where: str) -> Any:
    if isinstance(value, list):
        return [_made(each, where) for each in value]
    if not _is_named(value):
        return value
    kinds = [kind for kind in KINDS if _candidates(kind).get(value["class_name"])]
    return make(kinds[0] if kinds else "layer", value, where)


def _find(name: str, kind: str, where: str) -> type:
    candidates = _candidates(kind)
    if name in candidates:
        return candidates[name]
    if addons.is_addons(name) and not compat.MAY_HAVE_ADDONS:
        raise UserError(f"{where}: received {name}. {addons.advice([name])}")
    registered = keras.saving.get_custom_objects()
    known = sorted(set(candidates) & set(registered))
    own = sorted(set(candidates) - set(registered))
    near = difflib.get_close_matches(name, own, n=5, cutoff=0)
    what = f"which is registered, but no {kind}" if name in registered else "not known"
    raise UserError(
        f"{where}: received {name}, {what}; allowed: {', '.join(known) or 'nothing'} "
        f"as registered by modules so far, or a {kind} of Keras ({', '.join(near)}, "
        "…). Add the module that registers it to custom_imports."
    )


def _candidates(kind: str) -> dict[str, type]:
    """Every class of a kind by its name."""
    module, bases = KINDS[kind]
    every: Sequence[tuple[str, Any]] = [
        *((name, getattr(module, name)) for name in dir(module) if name[0] != "_"),
        *keras.saving.get_custom_objects().items(),
    ]
    return {
        name: found
        for name, found in every
        if isinstance(found, type) and issubclass(found, bases) and found not in bases
    }
