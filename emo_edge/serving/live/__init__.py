"""The WebSocket for live pictures: frames of a client, its session in a thread, its messages.

May import `emo_edge.serving.routes` and the modules above it in the list of layers.
"""
