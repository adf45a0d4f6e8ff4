"""The self-test: the packaged drawings on every device of this machine, compared with the CPU and timed.

May import `emo_edge.diagnostics.doctor` and the layers below it.
"""
