"""Bytes on the disk and from the network: written whole, checked, downloaded."""
