"""Quantization of the language model: the imatrix, mixed types, the search for a mixture.

May import `emo_edge.runtimes` and the layers below it, and nothing of `emo_edge.export`.
"""
