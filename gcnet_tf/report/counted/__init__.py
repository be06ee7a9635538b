"""Counts beside an evaluation: calibration, objects, and images worth a look."""
