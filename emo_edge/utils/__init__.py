"""Helpers without a domain: files, caches, processes, text, settings, extras, native libraries.

May import `emo_edge.errors`, `emo_edge.taxonomy` and `emo_edge.tensors`.
"""
