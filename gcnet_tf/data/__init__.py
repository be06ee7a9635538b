"""Images and labels: from a folder on disk to batches of tensors."""
