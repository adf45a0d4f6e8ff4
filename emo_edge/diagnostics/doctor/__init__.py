"""The doctor: facts of this machine and its engines, usable devices, steps that fix the rest, and the report.

May import `emo_edge.diagnostics.trials` and the layers below it.
"""
