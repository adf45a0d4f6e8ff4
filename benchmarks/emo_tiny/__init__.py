"""emo-tiny: data, training stages, tokenizers, evaluation, the model card.

May import `emo_edge.benchmarks.synthetic` and the layers below it.
"""
