"""Tensors that a SavedModel computes while it is loaded."""

from collections.abc import Callable

import tensorflow as tf


class LoadedTensor(tf.saved_model.experimental.TrackableResource):
    """A tensor that is computed once, after a file's variables are read.

    The file does not hold it. Part of a module that is saved, it works with every
    loader: `tf.saved_model.load` runs `_initialize`, a session the file's operation for
    that, which reads all variables first.

    Args:
        name: its name, of its own in the file.
        compute: computes it, from constants and saved variables.
    """

    def __init__(self, name: str, compute: Callable[[], tf.Tensor]):
        self._name = name
        self._compute = compute
        traced = tf.function(compute, autograph=False).get_concrete_function()
        self._shape, self._dtype = traced.output_shapes, traced.output_dtypes
        super().__init__()
        self.resource_handle  # made by its first reader, in a graph if that is one

    def read(self) -> tf.Tensor:
        """Returns the value, in a graph that is saved."""
        value = tf.raw_ops.ReadVariableOp(
            resource=self.resource_handle, dtype=self._dtype
        )
        return tf.ensure_shape(value, self._shape)

    def _create_resource(self) -> tf.Tensor:
        # `tf.saved_model.load` adds a number of its own to the name.
        return tf.raw_ops.VarHandleOp(
            dtype=self._dtype, shape=self._shape, shared_name=self._name
        )

    def _initialize(self) -> None:
        tf.raw_ops.AssignVariableOp(
            resource=self.resource_handle, value=self._compute()
        )

    def _destroy_resource(self) -> None:
        tf.raw_ops.DestroyResourceOp(resource=self.resource_handle)
