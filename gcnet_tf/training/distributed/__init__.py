"""Distributed training: the devices and machines that train together."""
