"""Headers of picture files, read before a decoder: kind, size, orientation, and what would take a decoder too long.

May import `emo_edge.utils`, `emo_edge.metrics` and the modules below them; not the rest of `emo_edge.media`.
"""
