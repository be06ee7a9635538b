"""The published table again, see scripts/reproduce.py."""
