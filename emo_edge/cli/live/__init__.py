"""``emo-edge live``: its options and what it prints.

May import `emo_edge.cli` and everything that stands above it in the list of layers.
"""
