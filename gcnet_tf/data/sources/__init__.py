"""Which files make a split: folders, lists, exports of annotation tools."""
