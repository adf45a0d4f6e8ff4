"""Data sets to tables: a lazy list of inputs, engines of several processes, parts that a stopped run keeps.

May import `emo_edge.rendering.tables` and the layers below it.
"""
