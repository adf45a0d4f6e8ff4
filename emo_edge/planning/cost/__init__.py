"""Bytes and operations of each stage, read from ONNX graphs and model shapes.

May import `emo_edge.inference` and the layers below it.
"""
