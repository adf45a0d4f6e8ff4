"""Capacity planning: does a bundle fit a device, and how long does each stage take.

May import `emo_edge.inference`, `emo_edge.planning.cost` and the layers below them.
"""
