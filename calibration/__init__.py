"""Samples, ranges and plans that quantize a bundle without losing accuracy."""
