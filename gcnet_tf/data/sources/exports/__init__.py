"""Exports of annotation tools that are read as a whole: names, images and labels."""
