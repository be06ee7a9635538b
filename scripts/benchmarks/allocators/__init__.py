"""Benchmark of memory allocators under several workloads."""
