"""Benchmark of what a protocol adds to its network: resizing, windows, averages."""
