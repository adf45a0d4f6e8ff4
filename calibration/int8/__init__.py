"""INT8: activation ranges, thresholds, sensitivity, plans, Q/DQ graphs, their speed.

May import `emo_edge.runtimes` and the layers below it, and nothing of `emo_edge.export`.
"""
