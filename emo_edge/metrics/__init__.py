"""Metrics and gates: classification, reliability, label agreement, similarity of tensors, facial cues.

May import `emo_edge.utils` and the modules below it.
"""
