"""Addresses of object stores, such as s3:// and gs://, in place of paths."""
