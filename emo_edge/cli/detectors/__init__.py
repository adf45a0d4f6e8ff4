"""``emo-edge detector``: fetch the weights of a face detector, measure detectors on pictures with boxes.

May import everything below the command line, and `emo_edge.cli`; nothing imports it.
"""
