"""From records to batches: order, random choices, pixels."""
