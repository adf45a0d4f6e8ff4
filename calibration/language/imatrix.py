"""Importance statistics (an imatrix) of a LLaMA's matrices on the prompts it is really given.

llama.cpp's own collector reads text alone. Here a prompt is embeddings, so that visual and face tokens count as they
do on the device: system text, frames, question and answer, every position once. As there, the head is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.imatrix_file import Imatrix, read_imatrix, write_imatrix
from emo_edge.errors import InputError


class ImportanceCollector:
    """Sums of squares of the inputs of a ``LlamaForCausalLM``'s linear layers, on the prompts it is given here."""

    def __init__(self, language: Any) -> None:
        self._language, self._names = language, _gguf_names(language)
        self._sums: dict[str, NDArray[np.float64]] = {}
        self._counts: dict[str, int] = {}
        self._prompts = 0

    def add(self, prompts: Sequence[Any], answers: Sequence[Sequence[int]]) -> None:
        """Run prompts (embeddings [P, E], begin-of-sequence included) with their answers (token ids) as one batch.

        Raises InputError naming the first matrix whose input is not finite.
        """
        import torch
        from torch import nn

        embed = self._language.get_input_embeddings()
        ids = [torch.tensor(list(answer), device=embed.weight.device) for answer in answers]
        rows = [torch.cat([prompt, embed(answer)]) for prompt, answer in zip(prompts, ids, strict=True)]
        length = max(len(row) for row in rows)
        padded = torch.stack([nn.functional.pad(row, (0, 0, 0, length - len(row))) for row in rows])
        lengths = torch.tensor([[len(row)] for row in rows], device=padded.device)
        valid = torch.arange(length, device=padded.device) < lengths
        with torch.inference_mode(), self._listening(valid):
            self._language.model(inputs_embeds=padded, attention_mask=valid.to(torch.long), use_cache=False)
        self._prompts += len(rows)

    def imatrix(self, dataset: str) -> Imatrix:
        """Return the statistics so far; raise InputError before the first prompt."""
        if not self._prompts:
            raise InputError("no prompt was read: importance statistics need at least one sample")
        sums = {name: np.asarray(row, np.float32) for name, row in self._sums.items()}
        return Imatrix(sums, dict(self._counts), self._prompts, (dataset,))

    @contextmanager
    def _listening(self, valid: Any) -> Iterator[None]:
        """Count the layers' inputs at the ``valid`` positions [rows, length]; the others are padding."""

        def count(name: str, _: Any, inputs: tuple[Any, ...]) -> None:
            self._count(name, inputs[0][valid])

        with ExitStack() as hooks:
            for module, name in self._names.items():
                layer = self._language.get_submodule(module)
                hooks.callback(layer.register_forward_pre_hook(partial(count, name)).remove)
            yield

    def _count(self, name: str, tokens: Any) -> None:
        """Add tokens [T, columns]."""
        squares = tokens.detach().float().square().sum(0).cpu().numpy().astype(np.float64)
        if not np.isfinite(squares).all():
            raise InputError(f"what {name} reads is not finite: check the checkpoint, or use a wider dtype")
        self._sums[name] = self._sums.get(name, 0.0) + squares
        self._counts[name] = self._counts.get(name, 0) + len(tokens)


def collected_in_parts(parts: Sequence[str], folder: Path, collect: Callable[[str], Imatrix]) -> Imatrix:
    """Collect part by part and merge in order; a part whose file is in ``folder`` is read, not collected again.

    ``folder`` belongs to one model and one set of samples. The result does not depend on where a run was stopped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    merged: Imatrix | None = None
    for part in parts:
        path = folder / f"{part}.imatrix.gguf"
        if not path.exists():
            write_imatrix(collect(part), path)
        collected = read_imatrix(path)
        merged = collected if merged is None else merged.merged(collected)
    if merged is None:
        raise InputError("no samples: importance statistics need at least one")
    return merged


def _gguf_names(language: Any) -> dict[str, str]:
    """Map the decoder layers' linear modules to their names in GGUF."""
    import gguf
    from torch import nn

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, language.config.num_hidden_layers)
    gguf_names = {}
    for module, layer in language.named_modules():
        if isinstance(layer, nn.Linear) and module != "lm_head":
            name = names.get_name(module)
            if name is None:
                raise InputError(f"{module}: not a matrix of a LLaMA; llama.cpp has no name for it")
            gguf_names[module] = f"{name}.weight"
    return gguf_names
