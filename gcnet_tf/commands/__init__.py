"""The commands of users, a module each: `gcnet_tf COMMAND` or `scripts/COMMAND.py`."""

# Modules, which are imported when the command runs.
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
    "show_attention": "gcnet_tf.commands.show_attention",
    "show_config": "gcnet_tf.commands.show_config",
    "train": "gcnet_tf.commands.train",
}

# The project's own, which no wheel carries: files in scripts/ of a checkout.
CHECKOUT_COMMANDS = ("benchmark", "camvid", "compare_blocks", "demo", "determinism")
