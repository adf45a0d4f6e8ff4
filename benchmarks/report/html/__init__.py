"""The report as one HTML page: elements, style, charts.

May import `emo_edge.benchmarks.report` and the layers below it; not `emo_edge.benchmarks.report.compare`.
"""
