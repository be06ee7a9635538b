"""Convolutions, with their normalisation and activation, and how they are computed."""
