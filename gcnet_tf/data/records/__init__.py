"""The TFRecords: writing them from the sources, checking and repairing them."""
