"""The full-precision checkpoint in PyTorch as a row of the benchmark, as fast as eager PyTorch does the same task."""

from __future__ import annotations

import contextlib
import ctypes
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from emo_edge.benchmarks.datasets.items import Frame
from emo_edge.benchmarks.workload.config import REFERENCE
from emo_edge.benchmarks.workload.targets import WRITTEN, Prediction, Written
from emo_edge.bundle.manifest import PARTS
from emo_edge.bundle.prompts import Prompt, classify_question
from emo_edge.bundle.reader import Bundle
from emo_edge.export.models.llama import generate_tokens
from emo_edge.export.reference.frames import FrameFeatures
from emo_edge.export.reference.model import EmbeddedPrompt, EmoLlamaForConditionalGeneration, PromptInput
from emo_edge.inference.probability import softmax
from emo_edge.machine.cpus import limited_cpus
from emo_edge.runtimes.base.device_names import GPU_DEVICES
from emo_edge.runtimes.base.sessions import Sampling
from emo_edge.runtimes.loading.device_choice import PROBLEMS
from emo_edge.utils.timing import Stopwatch

FIRST = Sampling(max_new_tokens=1)
MALLOPT = {"M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_MMAP_THRESHOLD": (-3, 1 << 25)}
"""Numbers of glibc's settings (malloc.h), and their largest values."""


class TorchTarget:
    """A checkpoint. Labels are scored in one packed pass, answers are written with transformers' cache."""

    def __init__(
        self,
        bundle: Bundle,
        checkpoint: Path,
        labels: tuple[str, ...],
        *,
        device: str = "cpu",
        threads: int | None = None,
        dtype: torch.dtype = torch.float32,
        stream: bool = False,
    ) -> None:
        """Load it.

        Args:
            bundle: whose scoring divides and corrects the scores of both alike.
            checkpoint: the directory that it was exported from.
            labels: in the order they are asked for.
            device: ``cpu`` or ``cuda``.
            threads: of PyTorch; None leaves it as it is.
            dtype: of weights and activations.
            stream: True keeps LLaMA's layers on the disk, where the memory does not hold them.
        """
        keep_freed_memory()
        self._threads = torch.get_num_threads()
        if count := threads or limited_cpus():
            torch.set_num_threads(count)
        if device == "cuda":
            # cuDNN's convolutions round to TF32 otherwise, which is not full precision.
            torch.backends.cudnn.allow_tf32 = False
        self.model = EmoLlamaForConditionalGeneration.from_pretrained(
            checkpoint, dtype=dtype, device=device, stream=stream
        )
        self.name, self.device, self.labels, self.manifest = REFERENCE, device, labels, bundle.manifest
        self._blank_scores: dict[Prompt, NDArray[np.float64]] = {}
        parts = [name for name in PARTS if self.manifest.components.get(name) is not None]
        self.variants = dict.fromkeys(parts, str(dtype).removeprefix("torch."))

    @torch.inference_mode()
    def read(self, frames: Sequence[Frame], *, clip: bool) -> Prediction:
        """Score the labels; the packed pass that reads the prompt and all labels is the stage ``score``."""
        watch = Stopwatch()
        prompt = self._embedded(frames, [PromptInput(slice(0, len(frames)), self._question(clip), clip)], watch)[0]
        scores = self._scores(prompt, watch)
        if self.manifest.scoring.prior_correction:
            scores = scores - self._blank(prompt, watch)
        return Prediction(softmax(scores / self.manifest.scoring.temperature).tolist(), watch.milliseconds)

    @torch.inference_mode()
    def write(self, frames: Sequence[Frame], question: str | None, *, clip: bool) -> Written:
        """Write an answer with transformers' ``generate``; its prefill is timed with the first token."""
        asked = PromptInput(slice(0, len(frames)), question or self._question(clip), clip)
        prompt = self._embedded(frames, [asked], Stopwatch())[0]
        (_, first), (ids, whole) = self._timed(prompt, FIRST), self._timed(prompt, WRITTEN)
        # The end of the sequence is computed as a token, too.
        each = max(whole - first, 0.0) / len(ids) if ids else None
        return Written(self.model.tokenizer.decode(ids), first, each, whole)

    @torch.inference_mode()
    def read_faces(self, frames: Sequence[Frame]) -> None:
        """Score the labels of all faces in one batch."""
        prompts = [PromptInput(slice(row, row + 1), self._question(False)) for row in range(len(frames))]
        self.model.score_prompts(self._embedded(frames, prompts, Stopwatch()), self.labels)

    @torch.inference_mode()
    def prefill(self, ids: Sequence[int]) -> None:
        """Read tokens alone, up to the logits that follow the last one."""
        rows = torch.tensor([list(ids)], device=self.device)
        hidden = self.model.language.model(input_ids=rows).last_hidden_state
        self.model.language.lm_head(hidden[:, -1])
        self._wait()

    def tokens(self, text: str) -> list[int]:
        """Tokenize as the language model does."""
        return self.model.tokenizer.encode(text)

    @property
    def context(self) -> int:
        """Positions of prompt and answer."""
        return int(self.model.language.config.max_position_embeddings)

    def close(self) -> None:
        """Forget the model, and give PyTorch its threads back."""
        torch.set_num_threads(self._threads)
        del self.model
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def _question(self, clip: bool) -> str:
        return classify_question(self.model.config.prompt, self.labels, clip=clip)

    def _scores(self, prompt: EmbeddedPrompt, watch: Stopwatch) -> NDArray[np.float64]:
        with watch("score"):
            scores: NDArray[np.float64] = self.model.score_prompts([prompt], self.labels)[0].astype(np.float64)
        return scores

    def _blank(self, prompt: EmbeddedPrompt, watch: Stopwatch) -> NDArray[np.float64]:
        """Label scores of the same words about an even picture, kept by the words as the pipeline keeps them."""
        if prompt.prompt not in self._blank_scores:
            side = self.model.config.vision.image_size
            grey = Frame(np.full((side, side, 3), 127, np.uint8), (0.0, 0.0, side, side))
            blank = self._embedded([grey], [PromptInput(slice(0, 1), prompt.prompt.question)], watch)[0]
            self._blank_scores[prompt.prompt] = self._scores(self.model.with_visual(prompt, blank.visual), watch)
        return self._blank_scores[prompt.prompt]

    @contextmanager
    def _timed_stage(self, watch: Stopwatch, stage: str) -> Iterator[None]:
        with watch(stage):
            yield
            self._wait()

    def _wait(self) -> None:
        """Until the card has done what it was given."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def _embedded(
        self, frames: Sequence[Frame], prompts: Sequence[PromptInput], watch: Stopwatch
    ) -> list[EmbeddedPrompt]:
        with watch("crop"):
            pairs = [self.model.crops(frame.image, frame.box, clip=prompts[0].clip) for frame in frames]
            pixels, faces = np.stack([one.pixels for one, _ in pairs]), [crop.pixels for _, crop in pairs if crop]
        with self._timed_stage(watch, "vision"):
            vision = self.model.vision_features(pixels)
        with self._timed_stage(watch, "face"):
            features = self._with_face(vision, np.stack(faces) if faces else None)
        with self._timed_stage(watch, "connector"):
            return self.model.embed_prompts(features, prompts)

    def _with_face(self, vision: torch.Tensor, crops: NDArray[np.uint8] | None) -> FrameFeatures:
        """Run the network that the face's crops are for."""
        if crops is None:
            return FrameFeatures(vision, None)
        if self.model.landmark_network:
            return FrameFeatures(vision, None, torch.from_numpy(self.model.landmark_network.run(crops)).to(vision))
        outputs, units = self.model.face_and_units(crops)
        return FrameFeatures(vision, outputs, units=units)

    def _timed(self, prompt: EmbeddedPrompt, sampling: Sampling) -> tuple[list[int], float]:
        started = time.perf_counter()
        ids = generate_tokens(self.model.language, [prompt.embeddings], sampling)[0]
        return ids, 1000 * (time.perf_counter() - started)


def reference_device(device: str, *, stream: bool = False) -> str:
    """Return the device of full precision for profiles on ``device``: the same chip, as far as PyTorch supports it.

    A checkpoint whose layers stay on the disk runs on the CPU.
    """
    wanted = device in GPU_DEVICES or (device == "auto" and PROBLEMS["cuda"]() is None)
    return "cuda" if wanted and not stream and torch.cuda.is_available() else "cpu"


def keep_freed_memory() -> None:
    """Have glibc keep what PyTorch frees, from now on; another C library is left alone.

    Large tensors would be mapped and faulted in anew until glibc has adapted, which depends on what this process freed
    before: the same reading took 23 ms in one run and 32 in the next.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for number, value in MALLOPT.values():
            mallopt(number, value)
