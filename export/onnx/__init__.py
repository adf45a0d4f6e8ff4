"""ONNX export: graphs from modules, float16, external data, the comparison with PyTorch.

May import `emo_edge.export.reference` and the layers below it; not `emo_edge.export.gguf`.
"""
