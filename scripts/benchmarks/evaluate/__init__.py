"""Benchmark of a whole evaluation, from files to the mIoU."""
