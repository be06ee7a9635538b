"""Benchmark of Winograd convolution, and of other leads."""
