"""A Triton model repository of a bundle: each graph as a model, and the whole pipeline as a Python model.

May import the device's side of emo-edge; no other folder of `emo_edge.export` is needed.
"""
