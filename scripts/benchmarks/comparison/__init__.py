"""Comparison of configurations that are trained alike: mIoU, size and time."""
