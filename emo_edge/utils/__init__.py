"""Helpers without a domain: files, caches, processes, text, progress, extras, click commands.

May import `emo_edge.errors`, `emo_edge.taxonomy` and `emo_edge.tensors`.
"""
