"""TFRecords: reading sources, writing shards, checking and repairing them."""
