"""Classes that a configuration names: Keras' own, yours, tensorflow-addons'."""
