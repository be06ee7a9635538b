"""Classes that a configuration names: of Keras, or of modules that it imports.

The modules are imported when the first name is looked up, so that a configuration can
be read without TensorFlow.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib import import_module
from typing import Any

from gcnet_tf import compat
from gcnet_tf.config import Config
from gcnet_tf.config.validate import named_objects
from gcnet_tf.errors import UserError, first_line
from gcnet_tf.extensions import addons
from gcnet_tf.extensions.classes import (
    NamedObjectError,
    UnknownClass,
    find_class,
    is_named,
    make_object,
)
from gcnet_tf.extensions.here import is_searched

_KIND_OF = {
    "model.head.context_layer": "layer",
    "augment.layer": "layer",
    "train.optimizer": "optimizer",
    "train.loss": "loss",
    "train.metrics": "metric",
    "train.callbacks": "callback",
}


def import_modules(config: Config) -> None:
    """Imports the modules that `custom_imports` lists, as Python finds them.

    The working folder is not searched by itself, because it may be a stranger's, with
    his configuration in it: see `here.search`.

    Raises:
        UserError: when a module cannot be imported, or needs tensorflow-addons on a
            stack that does not have it.
    """
    for name in config.custom_imports:
        if "__main__" in name.split("."):
            raise UserError(
                f"custom_imports: received {name}, which is a program; allowed: "
                "modules that register classes."
            )
        if addons.needs_addons(name) and not compat.MAY_HAVE_ADDONS:
            objects = map(asdict, named_objects(config).values())
            class_names = [name for named in objects for name in _names_in(named)]
            raise UserError(
                f"custom_imports: received {name}. {addons.advice(class_names)}"
            )
        try:
            with compat.without_farewell():
                import_module(name)
        # A module of the user may raise any exception, and even end the process.
        except (Exception, SystemExit) as error:
            here = f"files in {os.getcwd()}"
            if not is_searched():
                here += " with --allow-imports, which runs them: trust them first"
            raise UserError(
                f"custom_imports: cannot import {name} ({first_line(error)}); allowed: "
                f"installed modules, and {here}."
            ) from error


def check_names(config: Config) -> None:
    """Imports the modules and looks up every name, before any long work.

    Raises:
        UserError: when a module or a class is missing.
    """
    import_modules(config)
    for setting, named in named_objects(config).items():
        try:
            find_class(named.class_name, _KIND_OF[setting.partition("[")[0]], setting)
        except NamedObjectError as error:
            raise user_error(error) from error


def make(
    kind: str,
    named: Mapping[str, Any],
    setting: str,
    arguments: Mapping[str, Any] | None = None,
) -> Any:
    """Makes the object that a setting describes, see `make_object`.

    Raises:
        UserError: when there is no such class, or it refuses its arguments.
    """
    try:
        return make_object(kind, named, setting, arguments)
    except NamedObjectError as error:
        raise user_error(error) from error


def user_error(error: NamedObjectError) -> UserError:
    """Makes an error for users; adds advice about names of tensorflow-addons."""
    if (
        isinstance(error, UnknownClass)
        and addons.is_addons(error.name)
        and not compat.MAY_HAVE_ADDONS
    ):
        advice = addons.advice([error.name])
        return UserError(f"{error.place}: received {error.name}. {advice}")
    return UserError(str(error))


def _names_in(value: Any) -> Iterator[str]:
    """Yields the class names of a named object and of the objects inside it."""
    if is_named(value):
        yield value["class_name"]
        value = list(value["config"].values())
    for item in value if isinstance(value, list) else ():
        yield from _names_in(item)
