"""Weights on disk: our files, and those of mmsegmentation, PyTorch and Keras."""
