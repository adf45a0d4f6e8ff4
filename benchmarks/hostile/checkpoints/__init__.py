"""Campaigns against the readers of a checkpoint: settings, weights, tokenizers.

May import `emo_edge.benchmarks.hostile` and the layers below it.
"""
