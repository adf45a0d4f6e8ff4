"""Results as a table in a file: one row a face or clip, with typed columns of a published schema, as Parquet or CSV.

May import `emo_edge.rendering` and the layers below it.
"""
