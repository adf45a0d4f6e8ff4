"""Writing so that a reader never meets a part: locks between processes, and directories that are exchanged at once.

May import `emo_edge.utils` and the modules below it.
"""
