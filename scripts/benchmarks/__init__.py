"""Measurements, always of two things side by side in one run: ratios and medians."""
