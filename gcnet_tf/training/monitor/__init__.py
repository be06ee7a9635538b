"""Reports on a training, and the run folder that keeps them."""
