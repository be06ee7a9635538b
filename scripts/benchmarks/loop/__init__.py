"""Benchmark of what the training loop adds to its steps."""
