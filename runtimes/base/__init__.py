"""Protocols of every engine: sessions, device names, the check of a graph against its signature.

May import `emo_edge.bundle` and the layers below it.
"""
