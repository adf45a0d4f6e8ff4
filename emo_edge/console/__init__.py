"""A command as a process: options, errors with exit codes, progress, what it prints, streams, signals, children.

May import `emo_edge.utils` and the modules below it.
"""
