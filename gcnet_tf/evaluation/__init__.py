"""Evaluation: from a trained model to predictions and metrics on a data set."""
