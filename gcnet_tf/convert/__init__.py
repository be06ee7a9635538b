"""Weights of other projects become weights of ours."""
