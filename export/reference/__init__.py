"""The full-precision reference: the assembled model, its weights, tokenizers, outputs and answers.

May import `emo_edge.export.models` and the layers below it.
"""
