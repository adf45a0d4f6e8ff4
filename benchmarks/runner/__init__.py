"""The run of `emo-edge bench`: one row a profile, the finished report, redaction.

May import `emo_edge.benchmarks.report` and the layers below it.
"""
