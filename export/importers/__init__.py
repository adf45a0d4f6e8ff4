"""Importers: files of LLaMA-VID, EmoLA, LLaVA and FaceXFormer to one checkpoint; the LoRA merge.

May import `emo_edge.export.onnx`, `emo_edge.export.gguf` and the layers below them.
"""
