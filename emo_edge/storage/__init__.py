"""Writing so that a reader never meets a part: locks between processes, and directories that are exchanged at once.

May import: errors and utils.
"""
