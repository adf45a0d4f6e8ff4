"""Random files of upstream's form: their names are those that the importer knows, their sizes upstream's."""

from __future__ import annotations

import pytest
import torch

from emo_edge.benchmarks.studies.upstream_files import UPSTREAM_SHAPES, _shards, _upstream_name
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.configs.random_shapes import SHAPES
from emo_edge.export.importers.llama_vid_keys import MODEL_KEYS
from emo_edge.export.reference.model import parameter_shapes


@pytest.mark.parametrize("shape", UPSTREAM_SHAPES)
def test_the_names_it_writes_are_those_the_importer_takes(shape: str) -> None:
    config = EmoLlamaConfig.from_dict(
        {"face": None, "face_info": None, "language": dict(SHAPES[shape].get("language", {}))}
    )
    shapes = parameter_shapes(config)
    assert all(MODEL_KEYS.target(_upstream_name(name)) == name for name in shapes)
    assert {key: size for shard in _shards(shapes) for key, size in shard.items()} == {
        _upstream_name(name): size for name, size in shapes.items()
    }


def test_seven_billion_are_seven_billion() -> None:
    """The parameter counts of upstream's page, without the Q-Former's position ids and the face network."""
    config = EmoLlamaConfig.from_dict({"face": None, "face_info": None})
    total = sum(torch.Size(shape).numel() for shape in parameter_shapes(config).values())
    assert total == 7_941_388_160
