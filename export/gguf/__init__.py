"""GGUF export: writer, quantization by llama.cpp, file types, trials of each type.

May import `emo_edge.export.reference` and the layers below it; not `emo_edge.export.onnx`.
"""
