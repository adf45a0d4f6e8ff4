"""Bundles from checkpoints: configuration, manifest, size estimate, evaluation of every variant.

May import `emo_edge.export.importers` and the layers below it.
"""
