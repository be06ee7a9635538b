"""Reports: one self-contained page about a model, or about several side by side."""
