"""Benchmark of the input pipeline that feeds a training."""
