"""Predicted labels, apexes and intervals of clips against data sets of micro-expressions, micro-gestures, deception.

May import `emo_edge.benchmarks.datasets.affective`, `emo_edge.metrics` and the layers below them.
"""
