"""Which devices and machines train together."""
