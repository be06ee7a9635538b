"""The input stream from records to batches: order, random choices, pixels."""
