"""A server measured beside its own pipeline: ``python -m emo_edge.benchmarks.serving BUNDLE``.

May import the device's side and `emo_edge.benchmarks.measure`.
"""
