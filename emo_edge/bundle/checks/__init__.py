"""Checks of a language model before llama.cpp opens it: its header, and its vocabulary.

May import `emo_edge.bundle` and below; not `emo_edge.runtimes`.
"""
