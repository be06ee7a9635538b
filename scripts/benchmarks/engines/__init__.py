"""Conversion by engines of Apache Beam, beside the local one."""
