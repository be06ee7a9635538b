"""The users' commands, one module each: `gcnet_tf COMMAND`, `scripts/COMMAND.py`."""

# Modules, each of which is imported when its command runs.
COMMANDS = {
    "check_data": "gcnet_tf.commands.check_data",
    "evaluate": "gcnet_tf.commands.evaluate",
    "export": "gcnet_tf.commands.export",
    "export_mmseg": "gcnet_tf.commands.mmseg.export_mmseg",
    "import_mmseg": "gcnet_tf.commands.mmseg.import_mmseg",
    "launch_local": "gcnet_tf.commands.launch_local",
    "make_config": "gcnet_tf.commands.make_config",
    "make_tfrecords": "gcnet_tf.commands.make_tfrecords",
    "predict": "gcnet_tf.commands.predict",
    "report": "gcnet_tf.commands.report",
    "show_attention": "gcnet_tf.commands.show_attention",
    "show_config": "gcnet_tf.commands.show_config",
    "train": "gcnet_tf.commands.train",
}

# The project's own commands, which no wheel carries: files in scripts/ of a checkout.
CHECKOUT_COMMANDS = ("benchmark", "compare", "demo", "determinism", "reproduce")
