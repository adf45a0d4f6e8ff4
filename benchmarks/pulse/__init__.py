"""Heart rates of videos against an oximeter, as ``emo-edge pulse`` measures them. Not a medical device.

May import `emo_edge.benchmarks.datasets.pulse`, `emo_edge.inference` and the layers below them.
"""
