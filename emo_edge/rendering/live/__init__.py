"""Pictures of live events: drawn frames, a recording, a window.

May import `emo_edge.rendering` and the modules above it in the list of layers.
"""
