"""Inference: the pipeline, prompt layout, label scoring, face attributes, results, streams of sources.

May import `emo_edge.runtimes` and the layers below it. Affective tasks, signals and the live loop belong here.
"""
