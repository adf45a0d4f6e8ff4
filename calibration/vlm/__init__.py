"""Calibration of VLMs in llama.cpp's files: types made of the bundle's own reference, and the fit of the scoring.

May import `emo_edge.calibration.workflow` and the layers below it.
"""
