"""Benchmark of context blocks: parameters, multiply-adds, time and memory."""
