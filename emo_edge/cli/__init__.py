"""The command line, on top of every layer: one file a command.

May import everything; nothing imports it.
"""
