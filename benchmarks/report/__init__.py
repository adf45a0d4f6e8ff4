"""The report: schema, reader, tables, caveats, Markdown.

May import `emo_edge.benchmarks.measure` and the layers below it.
"""
