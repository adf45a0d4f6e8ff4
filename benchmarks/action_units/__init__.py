"""Networks of action units, trained on drawings above frozen networks of emo-tiny, and compared with plain heads.

May import `emo_edge.benchmarks.emo_tiny` and the layers below it.
"""
