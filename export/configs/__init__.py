"""Configs of checkpoints: the sizes of every network, within bounds.

May import `emo_edge.inference` and the layers below it; nothing else of `emo_edge.export`.
"""
