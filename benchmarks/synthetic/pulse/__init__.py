"""Drawn faces with a heartbeat in the colour of the skin, and its nuisances: light, motion, noise, recompression.

May import `emo_edge.benchmarks.synthetic` and every layer below it.
"""
