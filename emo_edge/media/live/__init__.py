"""Live sources: a thread for each, the newest frame alone, and the state of the signal.

May import `emo_edge.media`, its readers and the modules above them in the list of layers.
"""
