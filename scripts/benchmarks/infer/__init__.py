"""Benchmark of exported files: time, memory and size of every format."""
