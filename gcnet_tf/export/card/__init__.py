"""The model card: README.md beside exported files, in the form that model hubs take."""
