"""Diagnostics: doctor, trials of each engine in a process of its own, selftest.

May import `emo_edge.planning` and the layers below it; not `emo_edge.rendering`.
"""
