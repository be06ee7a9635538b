"""Measurements of speed and memory, always of two things side by side in one run."""
