"""`emo-edge track`: every face of every frame of videos by the face network alone, in runs that can be stopped.

May import `emo_edge.rendering.tracks` and the layers below it.
"""
