"""Readers of moving pictures: PyAV and OpenCV, time lines, cut-off files, unreachable streams, credentials.

May import `emo_edge.utils`, `emo_edge.metrics` and the modules below them; not the rest of `emo_edge.media`.
"""
