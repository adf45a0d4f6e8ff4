"""Faces of a live source: followed from frame to frame by their boxes and their motion, never recognised.

May import `emo_edge.faces` and the modules above it in the list of layers.
"""
