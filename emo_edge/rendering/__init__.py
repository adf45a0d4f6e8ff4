"""Output for people: text, annotated pictures and videos.

May import `emo_edge.planning` and the layers below it; not `emo_edge.diagnostics`.
"""
