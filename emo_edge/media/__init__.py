"""Pictures and moving pictures: sources, captures, videos, image files, crops.

May import `emo_edge.utils`, `emo_edge.metrics` and the modules below them; not `emo_edge.machine`.
"""
