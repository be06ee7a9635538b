"""Benchmark of the published rows: the reference's columns, measured again."""
