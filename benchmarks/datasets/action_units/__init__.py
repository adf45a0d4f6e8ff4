"""Videos whose frames are labelled with action units, in their official layouts: DISFA, BP4D.

May import `emo_edge.benchmarks.datasets` and the layers below it.
"""
