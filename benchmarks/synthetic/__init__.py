"""Synthetic faces: geometry, expression, shading, the camera, stills and clips.

May import every layer below `emo_edge.benchmarks`.
"""
