"""Benchmark of a training step."""
