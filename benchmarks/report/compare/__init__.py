"""`emo-edge bench compare`: conditions, significance and verdicts of two reports.

May import `emo_edge.benchmarks.report` and the layers below it; not `emo_edge.benchmarks.report.html`.
"""
