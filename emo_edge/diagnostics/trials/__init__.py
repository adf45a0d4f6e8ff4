"""Trials of engines, each in a process of its own: is it installed, does it compute, or does it crash.

May import `emo_edge.planning` and the layers below it; not `emo_edge.rendering`.
"""
