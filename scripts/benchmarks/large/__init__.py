"""Benchmark of training on large data: its start, its memory, its shuffling."""
