"""The one place that asks which Keras this is: 3 on TensorFlow 2.21, or 2.15 on 2.15.

All other code calls these functions and is written once for both stacks. The second
stack exists for tensorflow-addons, see `gcnet_tf.extensions.addons`. This package also
asks how TensorFlow computes on this machine.
"""

from gcnet_tf.compat.kernels import (
    bfloat16_rate,
    has_dilated_gradient,
    lacking,
    tf32_text,
    use_tf32,
)
from gcnet_tf.compat.layers import (
    DTypePolicy,
    added_losses,
    first_replicas_value,
    lend_optimizer,
    load_weights,
    model_config,
    plain_variables,
    save_weights,
    unchanging_dtype,
    weights_by_path,
)
from gcnet_tf.compat.optimizers import (
    OPTIMIZERS,
    Optimizer,
    apply_gradients,
    averages,
    build_optimizer,
    num_steps,
    optimizer_variables,
    scale_loss,
    variable_name,
    with_loss_scale,
    without_loss_scale,
)
from gcnet_tf.compat.versions import (
    KERAS_3,
    MAY_HAVE_ADDONS,
    without_farewell,
)

__all__ = [
    "DTypePolicy",
    "KERAS_3",
    "MAY_HAVE_ADDONS",
    "OPTIMIZERS",
    "Optimizer",
    "added_losses",
    "apply_gradients",
    "averages",
    "bfloat16_rate",
    "build_optimizer",
    "first_replicas_value",
    "has_dilated_gradient",
    "lacking",
    "lend_optimizer",
    "load_weights",
    "model_config",
    "num_steps",
    "optimizer_variables",
    "plain_variables",
    "save_weights",
    "scale_loss",
    "tf32_text",
    "unchanging_dtype",
    "use_tf32",
    "variable_name",
    "weights_by_path",
    "with_loss_scale",
    "without_farewell",
    "without_loss_scale",
]
