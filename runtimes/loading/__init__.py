"""Opening: which device is usable, which engine opens which component, checks of compiled graphs.

May import every engine of `emo_edge.runtimes` and the layers below them.
"""
