"""Export: from a trained model to files that run elsewhere, one module per format."""
