"""The check of a data set before it is converted."""
