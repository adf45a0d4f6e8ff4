"""Affective tasks on the device: which one is asked, how its answer is read off, and the step that measures a pulse.

May import `emo_edge.bundle`, `emo_edge.inference.signals` and every layer below them.
"""
