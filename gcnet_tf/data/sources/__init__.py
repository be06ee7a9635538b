"""The source files of a split: folders, lists, exports of annotation tools."""
