"""Conversion and prediction by Apache Beam: on any engine that has a runner for it."""
