"""Features of the training frames from the two frozen networks, for the time that the language model learns."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emo_edge.benchmarks.emo_tiny.data import Arrays
from emo_edge.export.models.facexformer import FaceOutputs
from emo_edge.export.reference.frames import FrameFeatures
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration

_FACE_FIELDS = tuple(field for field in FaceOutputs._fields if field != "segmentation")
_LARGE_FIELDS = ("vision", "face_map")


class FrozenFeatures:
    """Features of a split's rows, run through the networks at most once and kept in memory.

    The two large fields (vision features, the fused face map) are kept in half precision, 122 kB a frame of emo-tiny;
    a row's first read is rounded, too, so that every read of it gives the same.
    """

    def __init__(self, model: EmoLlamaForConditionalGeneration, arrays: Arrays) -> None:
        self._model, self._arrays = model, arrays
        self._kept: dict[str, Tensor] = {}
        self._known = np.zeros(len(arrays["vision"]), bool)

    def read(self, rows: NDArray[np.int64]) -> FrameFeatures:
        """Return the features of ``rows`` [R], float32 on the model's device."""
        missing = np.unique(rows[~self._known[rows]])
        if len(missing):
            self._keep(missing, encode_rows(self._model, self._arrays, missing))
        index = torch.from_numpy(rows)
        got = {name: kept[index].to(self._model.device, self._model.dtype) for name, kept in self._kept.items()}
        vision = got.pop("vision")
        return FrameFeatures(vision, FaceOutputs(segmentation=None, **got) if got else None)

    def _keep(self, rows: NDArray[np.int64], features: FrameFeatures) -> None:
        fields = {"vision": features.vision}
        if features.face is not None:
            fields |= {name: getattr(features.face, name) for name in _FACE_FIELDS}
        for name, values in fields.items():
            if name not in self._kept:
                dtype = torch.float16 if name in _LARGE_FIELDS else torch.float32
                self._kept[name] = torch.empty(len(self._known), *values.shape[1:], dtype=dtype)
            self._kept[name][torch.from_numpy(rows)] = values.to("cpu", self._kept[name].dtype)
        self._known[rows] = True


@torch.no_grad()
def encode_rows(model: EmoLlamaForConditionalGeneration, arrays: Arrays, rows: NDArray[np.int64]) -> FrameFeatures:
    """Run the networks that there are on the crops of ``rows`` [R], without a gradient."""
    return model.encode_crops(arrays["vision"][rows], None if model.face is None else arrays["face"][rows])
