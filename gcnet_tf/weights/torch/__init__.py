"""Checkpoints of PyTorch, read without PyTorch and without running what they hold."""
