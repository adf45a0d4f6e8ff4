"""Rates and endurance of ``emo-edge label``: ``python -m emo_edge.benchmarks.batch BUNDLE``.

May import the device's side.
"""
