"""``emo-edge serve``: its options, and the parts of a server that they name.

May import `emo_edge.cli` and everything that stands above it in the list of layers.
"""
