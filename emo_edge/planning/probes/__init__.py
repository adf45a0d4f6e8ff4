"""Probes that measure what this machine reaches: matmuls, graphs, the language model.

May import `emo_edge.planning` and the layers below it.
"""
