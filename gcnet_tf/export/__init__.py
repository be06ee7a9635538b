"""From a trained model to files that run elsewhere; one module per format."""

from gcnet_tf.export.saved_model import export_saved_model

# format: function(model, config, out) -> largest difference
FORMATS = {"saved_model": export_saved_model}

__all__ = ["FORMATS", "export_saved_model"]
