"""Measurements: accuracy, latency, cold start, energy, roofline, the state of the machine.

May import `emo_edge.benchmarks.workload` and the layers below it.
"""
