"""Helpers without a domain: files, caches, processes, text, progress, extras, click commands.

May import `emo_edge.errors`, `emo_edge.taxonomy`, `emo_edge.tensors` and `emo_edge.console`.
"""
