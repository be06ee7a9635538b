"""Comparison of one training in several divisions of the batch."""
