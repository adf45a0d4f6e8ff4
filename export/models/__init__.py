"""Reference networks in PyTorch, one file a network, with parameters named after upstream keys.

May import `emo_edge.inference` and the layers below it, and `emo_edge.export.configs`.
"""
