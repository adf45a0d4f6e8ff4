"""Temporary linear heads on the visual tokens that LLaMA reads, one a branch.

Without them a language stage of this length may learn to read one branch and hardly the other, at the same loss:
`benchmarks.evaluate` tells by its rows without one branch's tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as fn

from emo_edge.benchmarks.emo_tiny.loop import Losses
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.taxonomy import ACTION_UNITS, EXPRESSIONS

WEIGHTS = {"vision": 1.0, "face": 0.5}
"""Weights of each branch's losses; with equal weights LLaMA leans on the face tokens and hardly needs the others."""


class BranchProbes(nn.Module):
    """Reads each frame's action units, and the expression of its image or clip, off each branch's tokens.

    They are trained with the connector and Face Info Mining, and thrown away. All start at zero.
    """

    def __init__(self, config: EmoLlamaConfig) -> None:
        super().__init__()
        face = config.face_tokens_per_frame
        self.counts = {"vision": config.tokens_per_frame - face, "face": face}
        width = config.language.hidden_size
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name in self.counts})
        self.heads = nn.ModuleDict(
            {
                name: nn.Linear(count * width, len(ACTION_UNITS) + len(EXPRESSIONS))
                for name, count in self.counts.items()
            }
        )
        for parameter in self.heads.parameters():
            nn.init.zeros_(parameter)

    def losses(
        self, visual: Sequence[Tensor], units: Sequence[NDArray[np.float32]], expressions: Sequence[str]
    ) -> Losses:
        """Return the weighted losses of the probes.

        Args:
            visual: float [F, T, E] of each image or clip, every frame's tokens ``[context, content..., face...]``.
            units: float32 [F, 17] of each, the frames' intensities.
            expressions: of each.
        """
        tokens, lengths = torch.cat(list(visual)), [len(each) for each in visual]
        intensities = torch.from_numpy(np.concatenate(units)).to(tokens.device)
        labels = torch.tensor([EXPRESSIONS.index(name) for name in expressions], device=tokens.device)
        losses_by_name = {}
        for name, own in zip(self.counts, torch.split(tokens, list(self.counts.values()), dim=1), strict=True):
            outputs = self.heads[name](self.norms[name](own).flatten(1)).float()
            unit_logits, frame_logits = torch.split(outputs, [len(ACTION_UNITS), len(EXPRESSIONS)], dim=1)
            logits = torch.stack([frames.mean(0) for frames in torch.split(frame_logits, lengths)])
            weight = WEIGHTS[name]
            losses_by_name[f"{name} units"] = 3 * weight * fn.binary_cross_entropy_with_logits(unit_logits, intensities)
            losses_by_name[f"{name} expression"] = 0.5 * weight * fn.cross_entropy(logits, labels)
        return losses_by_name
