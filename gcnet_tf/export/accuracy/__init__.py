"""The accuracy of exported files beside that of the trained Keras model."""
