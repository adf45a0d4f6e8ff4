"""Bundles from checkpoints: configuration, stages, gates, profiles, manifest, size estimate.

May import `emo_edge.export.importers` and the layers below it.
"""
