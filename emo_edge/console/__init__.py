"""The process of a command: its standard streams, the signals that end it, and the children it starts.

May import nothing of emo-edge.
"""
