"""Faces followed through videos as tables, a row a frame and face: our columns, OpenFace's, py-feat's, LibreFace's.

May import `emo_edge.rendering` and the layers below it.
"""
