"""The workload of `emo-edge bench`: configuration, targets, samples, journal, full-precision reference.

May import `emo_edge.benchmarks.datasets` and the layers below it.
"""
