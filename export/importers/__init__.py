"""Importers: files of LLaMA-VID and FaceXFormer to one checkpoint; what they share, the LoRA merge.

May import `emo_edge.export.onnx`, `emo_edge.export.gguf` and the layers below them.
"""
