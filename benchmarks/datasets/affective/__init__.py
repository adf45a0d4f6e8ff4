"""Clips of micro-expressions, micro-gestures and deception in their official layouts: CASME II, SAMM, iMiGUE, trials.

May import `emo_edge.benchmarks.datasets` and the layers below it.
"""
