"""``emo-edge doctor``, ``selftest`` and ``engines``: what this machine can do, and what was built for it.

May import `emo_edge.cli` and everything that stands above it in the list of layers.
"""
