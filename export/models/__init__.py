"""Reference networks in PyTorch, one file a network, with parameters named after upstream keys.

May import `emo_edge.inference` and the layers below it; nothing else of `emo_edge.export`.
"""
