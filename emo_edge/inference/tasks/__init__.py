"""Affective tasks on the device: which one is asked, how its answer is read off, the steps that measure and spot.

May import `emo_edge.bundle`, `emo_edge.inference.signals` and every layer below them.
"""
