"""Data sets in their official layouts: RAF-DB, AffectNet, FER+, DFEW, FERV39k, MAFW, lists, folders.

May import `emo_edge.benchmarks.emo_tiny` and the layers below it.
"""
