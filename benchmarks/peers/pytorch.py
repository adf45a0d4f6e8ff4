"""PyTorch as a contender: the checkpoint in eager mode, which writes a label token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emo_edge.benchmarks.measure.timing import timed_ms
from emo_edge.benchmarks.peers.contenders import ANSWER, LABELS, Timed, sheet, timed_pictures
from emo_edge.bundle.prompts import build_prompt, classify_question
from emo_edge.bundle.reader import Bundle
from emo_edge.export.models.llama import generate_tokens
from emo_edge.export.reference.frames import as_clip
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration, PromptInput
from emo_edge.runtimes.base.sessions import Sampling

Written = list[list[int]]


def torch_answers(
    checkpoint: Path, dtype: str, threads: int | None, calls: int, *, faces: int = 1, keep_prefix: bool = False
) -> Timed:
    """Write `ANSWER` tokens about two pictures alternately, as EMO-LLaMA's users get a label; times are a face's.

    Args:
        checkpoint: of the bundle.
        dtype: name of the dtype of all weights.
        threads: of PyTorch; None leaves it to PyTorch.
        calls: timed ones, after one a picture that does not count.
        faces: of a picture, their prompts in one batch.
        keep_prefix: compute the keys and values of the text in front of the face once. For one face.
    """
    model = _model(checkpoint, dtype, threads)
    question = classify_question(model.config.prompt, model.config.label_sets[LABELS], clip=False)
    write: Callable[[Sequence[Tensor]], Written] = partial(
        generate_tokens, model.language, sampling=Sampling(max_new_tokens=ANSWER)
    )
    if keep_prefix:
        write = KeptPrefix(model)
    written: Written = []

    def answer(picture: Any) -> None:
        image, boxes = picture
        features = model.encode(as_clip([image] * faces, boxes))
        prompts = model.embed_prompts(features, [PromptInput(slice(row, row + 1), question) for row in range(faces)])
        written.extend(write([prompt.embeddings for prompt in prompts]))

    pictures, ms = [sheet(faces, first) for first in (0, faces)], []
    with torch.inference_mode():
        for index in range(len(pictures) + calls):
            took = timed_ms(partial(answer, pictures[index % len(pictures)]))
            ms += [took / faces] if index >= len(pictures) else []
    return Timed(ms, {"dtype": dtype, "faces": faces, "written": written})


class KeptPrefix:
    """Greedy decoding behind a text whose keys and values are computed once."""

    def __init__(self, model: EmoLlamaForConditionalGeneration) -> None:
        """Begin without a cache; the text is what stands in front of a prompt's frames."""
        self._language = model.language
        self._past: Any = None
        before = model.tokenizer.encode(build_prompt(model.config.prompt, "").before)
        self._length = len(before) + (model.config.language.bos_place == "first")

    def __call__(self, prompts: Sequence[Tensor]) -> Written:
        """Continue one prompt (embeddings [P, E]) until end-of-sequence, by `ANSWER` tokens at most."""
        from transformers import DynamicCache

        (prompt,) = prompts
        if self._past is None:
            self._past = DynamicCache()
            self._language.model(inputs_embeds=prompt[None, : self._length], past_key_values=self._past, use_cache=True)
        rest, tokens = prompt[None, self._length :], []
        for _ in range(ANSWER):
            output = self._language(inputs_embeds=rest, past_key_values=self._past, use_cache=True, logits_to_keep=1)
            token = int(output.logits[0, -1].argmax())
            if token == self._language.config.eos_token_id:
                break
            tokens.append(token)
            rest = self._language.get_input_embeddings()(torch.tensor([[token]]))
        self._past.crop(self._length)
        return [tokens]


def torch_vision(bundle: Path, checkpoint: Path, dtype: str, threads: int | None, calls: int) -> Timed:
    """Run the checkpoint's image tower."""
    model = _model(checkpoint, dtype, threads, stream=True)
    with torch.inference_mode():
        return timed_pictures(Bundle.open(bundle), lambda feed: model.vision_features(feed["image"]), calls)


def _model(
    checkpoint: Path, dtype: str, threads: int | None, *, stream: bool = False
) -> EmoLlamaForConditionalGeneration:
    if threads:
        torch.set_num_threads(threads)
    return EmoLlamaForConditionalGeneration.from_pretrained(checkpoint, dtype=getattr(torch, dtype), stream=stream)
