"""emo-tiny: the reference architecture at toy size, every quantizable LLaMA row a multiple of 256."""

from __future__ import annotations

from emo_edge.benchmarks.emo_tiny.tasks import EVIDENCE, own_tasks
from emo_edge.bundle.prompts import PromptConfig
from emo_edge.bundle.sections import LabelFilter, LiveLabels
from emo_edge.export.configs.action_units import SaclConfig
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.configs.networks import (
    ConnectorConfig,
    FaceConfig,
    FaceInfoConfig,
    LanguageConfig,
    QFormerConfig,
    VisionConfig,
)
from emo_edge.taxonomy import ACTION_UNITS

LANGUAGE_VOCABULARY = 768
QUESTION_VOCABULARY = 384

UNITS = SaclConfig(
    units=ACTION_UNITS,
    intensity=True,
    hidden_size=32,
    # Chosen by `emo_edge.benchmarks.action_units.train`.
    thresholds=(0.48, 0.5, 0.52, 0.5, 0.5, 0.5, 0.84, 0.82, 0.54, 0.5, 0.5, 0.46, 0.76, 0.46, 0.28, 0.5, 0.7),
)
"""Action units on the trunk of the face network."""

TINY = EmoLlamaConfig(
    vision=VisionConfig(
        image_size=112, patch_size=14, hidden_size=160, num_layers=6, num_heads=5, mlp_size=480, crop_margin=0.35
    ),
    connector=ConnectorConfig(
        compress_type="grid:2",
        qformer=QFormerConfig(
            vocab_size=QUESTION_VOCABULARY,
            hidden_size=128,
            num_layers=3,
            num_heads=4,
            mlp_size=256,
            max_positions=128,
            num_queries=8,
            max_question_tokens=64,
        ),
    ),
    face=FaceConfig(
        image_size=112,
        embed_dim=24,
        depths=(2, 2, 4, 2),
        num_heads=(1, 2, 4, 8),
        mlp_ratio=3.0,
        decoder_dim=64,
        decoder_heads=4,
        decoder_mlp_size=128,
    ),
    face_info=FaceInfoConfig(num_tokens=4, hidden_size=128, num_heads=4, global_grid=4, mlp_size=256),
    action_units=UNITS,
    language=LanguageConfig(
        vocab_size=LANGUAGE_VOCABULARY,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
    ),
    # Fitted by `emo_edge.benchmarks.live.labels`.
    live=LiveLabels(
        smoothing=LabelFilter(method="hidden_markov", tau_s=0.169, alpha=0.5, step_s=0.1),
        unchanged=1.5,
        evidence={
            "clips": 220.0,
            "nll_raw": 0.3908,
            "nll_smoothed": 0.3132,
            "ece_raw": 0.0444,
            "ece_smoothed": 0.0155,
            "added_delay_s": 0.0186,
            "unchanged_flips": 0.00404,
            "unchanged_kl": 0.00859,
        },
    ),
    tasks=own_tasks(PromptConfig(), EVIDENCE, gives_units=True),
    provenance={
        "name": "emo-tiny",
        "trained_on": "synthetic drawings of faces (emo_edge.benchmarks.synthetic)",
        "purpose": "demonstration and tests of the toolkit; it has never seen a photograph of a person",
        "face_info": "reconstruction: EMO-LLaMA's Face Info Mining was never released",
        "action_units": "reconstruction: no code or weights of SACL-AU were ever published",
    },
)

WITHOUT_UNITS = TINY.model_copy(update={"action_units": None})
"""Networks that `emo_edge.benchmarks.emo_tiny.train` trains; the action units are trained on them afterwards."""
