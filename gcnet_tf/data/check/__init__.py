"""Looking through a data set before it is converted."""
