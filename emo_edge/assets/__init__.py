"""Data that the package carries: the checkpoint of emo-tiny and the sample drawings.

May import `emo_edge.media`, `emo_edge.machine` and the layers below them; not `emo_edge.faces`.
"""
