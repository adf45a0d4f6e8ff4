"""ONNX graphs that a user gives, checked before an engine opens them and run behind pixels: landmarks, labels.

May import `emo_edge.export.models` and the layers below it.
"""
