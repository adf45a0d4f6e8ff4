"""Calibration samples: lists of files, frames drawn from them.

May import `emo_edge.runtimes` and the layers below it, and nothing of `emo_edge.export`.
"""
