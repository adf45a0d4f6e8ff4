"""Diagnostics: trials of each engine, the doctor, the self-test of a bundle.

Its sub-packages may import `emo_edge.planning` and the layers below it; not `emo_edge.rendering`.
"""
