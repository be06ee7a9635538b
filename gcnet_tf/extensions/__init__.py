"""Classes that a configuration names: of Keras, of the user, of tensorflow-addons."""
