"""Live results: which faces are read when, events with the age of every label, and the loop that gives them.

May import `emo_edge.inference` and the modules above it in the list of layers.
"""
