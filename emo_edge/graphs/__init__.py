"""ONNX files read without a library: messages, the size of every value, bounds of what an engine may load.

May import `emo_edge.utils` and the layers below it.
"""
