"""EMO-LLaMA's full-precision reference: every claim of this toolkit is a distance from this model.

The way of the data: frames are cropped, the vision tower and the face network read the crops, the connector
and Face Info Mining turn them into tokens, per frame ``[context, content..., face...]``, and LLaMA reads
them inside the prompt. An image is a clip of one frame.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emo_edge.bundle.prompts import Prompt, build_prompt, demographic_sentence
from emo_edge.bundle.question_tokenizer import QuestionTokenizer
from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.models.connector import ContentConnector
from emo_edge.export.models.llama import PackedRow, branch_log_probs, generate_tokens, rebuild_rotary
from emo_edge.export.models.siglip_vit import SiglipVit
from emo_edge.export.reference.frames import Boxes, Clip, FrameFeatures, Frames, as_clip
from emo_edge.export.reference.layer_streaming import LAYERS, stream_layers
from emo_edge.export.reference.networks import EmoLlamaNetworks
from emo_edge.export.reference.tokenizer import QUESTION_MODEL_NAME, TextTokenizer, language_tokenizer_of
from emo_edge.export.reference.weights import check_layers, load_weights, save_weights
from emo_edge.export.user_graphs.landmark_network import LANDMARKS_NAME, LandmarkNetwork
from emo_edge.runtimes.base.sessions import Sampling
from emo_edge.storage.directories import replaced_directory

BRANCHES = ("vision", "face")
"""Names that ``ablate`` takes: the connector's tokens (context and content) and the face tokens."""


@dataclass(frozen=True)
class PromptInput:
    """One question about some of the encoded frames."""

    frames: slice
    question: str
    clip: bool = False
    demographics: bool | None = None
    """True puts age, gender and race into the prompt; None follows the config."""


@dataclass(frozen=True)
class EmbeddedPrompt:
    """A prompt as LLaMA reads it."""

    prompt: Prompt
    embeddings: Tensor
    """[P, E], begin-of-sequence first."""
    visual: Tensor
    """[F, T, E], the tokens of its frames, which stand within."""


class EmoLlamaForConditionalGeneration(EmoLlamaNetworks):
    """Vision tower, connector, face network, Face Info Mining and LLaMA, in full precision."""

    def __init__(self, config: EmoLlamaConfig) -> None:
        super().__init__(config)
        self.tokenizer: TextTokenizer
        self.question_tokenizer: QuestionTokenizer | None = None
        """None where no token depends on the question."""
        self._files: dict[str, bytes] = {}
        """Content of the files that `save_pretrained` writes next to config and weights, by name."""

    @classmethod
    def from_pretrained(
        cls,
        directory: str | Path,
        *,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        stream: bool = False,
    ) -> EmoLlamaForConditionalGeneration:
        """Load a checkpoint directory, ready for inference.

        Args:
            directory: the checkpoint.
            dtype: of every weight.
            device: where they go.
            stream: whether LLaMA's layers stay on the disk and are read, one at a time, in every forward pass.

        Raises CheckpointError naming every problem of the config or every problem of the weights.
        """
        config = EmoLlamaConfig.from_pretrained(directory)
        check_layers(config.layers, directory)
        with torch.device("meta"):
            model = cls(config)
        load_weights(model, directory, dtype, device, only_checked=LAYERS if stream else None)
        rebuild_rotary(model.language)
        if isinstance(model.vision, SiglipVit):
            model.vision.rebuild_positions()
        model.language.model.rotary_emb.to(device)
        if stream:
            stream_layers(model.language, Path(directory))
        model.load_tokenizers(directory)
        if config.landmark:
            model.load_landmark_network(Path(directory, LANDMARKS_NAME))
        return model.eval()

    def keep_tokens(self, count: int | None) -> None:
        """Reduce a frame's patches to ``count`` visual tokens from here on; None keeps every patch.

        Raises CheckpointError where this checkpoint's tokens are not those of patches, or not so many.
        """
        self.config = self.config.with_kept_tokens(count)
        if isinstance(self.connector, ContentConnector):
            self.connector.kept_tokens = count

    def load_tokenizers(self, directory: str | Path) -> None:
        """Read the tokenizers; they must fit the config's vocabulary sizes."""
        self.tokenizer, qformer = language_tokenizer_of(directory), self.config.connector.qformer
        sizes = [(self.tokenizer.path.name, len(self.tokenizer), self.config.language.vocab_size)]
        if qformer:
            path = Path(directory, QUESTION_MODEL_NAME)
            self.question_tokenizer = QuestionTokenizer(path, qformer.max_question_tokens)
            sizes.append((QUESTION_MODEL_NAME, len(self.question_tokenizer), qformer.vocab_size))
        for name, tokens, rows in sizes:
            if tokens > rows:
                raise CheckpointError(f"{directory}: {name} has {tokens} tokens, the config's vocabulary only {rows}")
            self._files[name] = Path(directory, name).read_bytes()

    def load_landmark_network(self, path: Path) -> None:
        """Open the user's landmark graph; it must have the sizes of the config."""
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file; the landmark token reads what this graph finds")
        network, settings = LandmarkNetwork(path.read_bytes(), str(path)), self.config.landmark
        size, outputs = network.image_size, network.outputs
        if settings is None or (size, outputs) != (settings.image_size, settings.outputs):
            raise CheckpointError(f"{path}: reads {size} pixels and gives {outputs} numbers, not as the config says")
        self.landmark_network, self._files[LANDMARKS_NAME] = network, network.content

    def save_pretrained(self, directory: str | Path, *, overwrite: bool = False) -> None:
        """Write config, tokenizers and weights under a temporary name, then rename.

        Raises CheckpointError if ``directory`` holds anything, unless ``overwrite`` replaces it as a whole.
        """
        target = Path(directory)
        if not overwrite and target.exists() and any(target.iterdir()):
            raise CheckpointError(f"{target}: not empty; give another directory or overwrite=True")
        with replaced_directory(target, overwrite=overwrite) as partial:
            self.config.save_pretrained(partial)
            for name, content in self._files.items():
                Path(partial, name).write_bytes(content)
            save_weights(self, partial)

    @torch.inference_mode()
    def generate(
        self,
        frames: Frames,
        question: str,
        *,
        boxes: Boxes = None,
        demographics: bool | None = None,
        ablate: Collection[str] = (),
        sampling: Sampling | None = None,
    ) -> str:
        """Answer ``question`` about an image (uint8 RGB [H, W, 3]) or a clip (a sequence of them).

        Args:
            frames: the image, or the frames of the clip in order.
            question: free text; see `prompts.classify_question` for the trained category question.
            boxes: face box in pixels, one or one a frame; None reads each whole frame.
            demographics: whether the age/gender/race sentence is in the prompt; None follows the config.
            ablate: token groups to leave out, of `BRANCHES`.
            sampling: greedy by default.
        """
        prompt = self._embedded(as_clip(frames, boxes), question, demographics, ablate)
        return self.answer_prompts([prompt], sampling or Sampling())[0]

    @torch.inference_mode()
    def label_scores(
        self,
        frames: Frames,
        question: str,
        labels: Sequence[str],
        *,
        boxes: Boxes = None,
        demographics: bool | None = None,
        ablate: Collection[str] = (),
    ) -> NDArray[np.float32]:
        """Log-probability of each label's full token sequence as the answer: float32 [len(labels)].

        End-of-sequence is not scored. Arguments as in `generate`.
        """
        prompt = self._embedded(as_clip(frames, boxes), question, demographics, ablate)
        scores: NDArray[np.float32] = self.score_prompts([prompt], labels)[0]
        return scores

    def visual_tokens(self, features: FrameFeatures, questions: Sequence[str], ablate: Collection[str] = ()) -> Tensor:
        """Tokens [F, T, E] of each frame, ``[context, content..., face...]``; one question a frame.

        There is no context token where there is no Q-Former.
        """
        unknown = set(ablate) - set(BRANCHES)
        if unknown:
            raise InputError(f"ablate knows {', '.join(BRANCHES)}, not {', '.join(sorted(unknown))}")
        parts = []
        if "vision" not in ablate:
            chosen_by = features.selection._asdict() if features.selection else {}
            parts.append(self.connector(features.vision, **chosen_by, **self.question_inputs(questions)))
        face_tokens = None if "face" in ablate else self.face_tokens(features)
        if face_tokens is not None:
            parts.append(face_tokens)
        if not parts:
            return features.vision.new_zeros(len(features), 0, self.config.language.hidden_size)
        return torch.cat(parts, dim=1)

    def question_inputs(self, questions: Sequence[str]) -> dict[str, Tensor]:
        """Return what the connector reads besides the features; nothing where there is no Q-Former.

        ``question_ids`` and ``question_mask``: int64 [F, L], padded to the longest question.
        """
        if self.question_tokenizer is None:
            return {}
        rows = [self.question_tokenizer.encode(question) for question in questions]
        length = max(len(row) for row in rows)
        ids = [row + [0] * (length - len(row)) for row in rows]
        mask = [[1] * len(row) + [0] * (length - len(row)) for row in rows]
        inputs = {"question_ids": ids, "question_mask": mask}
        return {name: torch.tensor(values, device=self.device) for name, values in inputs.items()}

    def prompt_text(self, features: FrameFeatures, source: PromptInput) -> Prompt:
        """Write the prompt of one question; a clip's age, gender and race are the mean over its frames."""
        wanted = self.config.prompt.use_demographics if source.demographics is None else source.demographics
        if not wanted or features.face is None:
            return build_prompt(self.config.prompt, source.question)
        age, gender, race = (
            logits[source.frames].detach().float().softmax(-1).mean(0).cpu().numpy()
            for logits in (features.face.age, features.face.gender, features.face.race)
        )
        labels = self.config.face_labels
        sentence = demographic_sentence(self.config.prompt, labels, age, gender, race, clip=source.clip)
        return build_prompt(self.config.prompt, source.question, sentence)

    def embed_prompts(
        self, features: FrameFeatures, inputs: Sequence[PromptInput], ablate: Collection[str] = ()
    ) -> list[EmbeddedPrompt]:
        """Join the text and the visual tokens of each prompt; ``inputs`` cover the frames in order, each frame once."""
        questions = [one.question for one in inputs for _ in range(len(features))[one.frames]]
        visual = self.visual_tokens(features, questions, ablate)
        prompts = [self.prompt_text(features, one) for one in inputs]
        return [
            EmbeddedPrompt(prompt, self._embeddings(prompt, visual[one.frames]), visual[one.frames])
            for prompt, one in zip(prompts, inputs, strict=True)
        ]

    def with_visual(self, embedded: EmbeddedPrompt, visual: Tensor) -> EmbeddedPrompt:
        """Return the same text around other visual tokens [F, T, E]."""
        return EmbeddedPrompt(embedded.prompt, self._embeddings(embedded.prompt, visual), visual)

    def score_prompts(self, prompts: Sequence[EmbeddedPrompt], labels: Sequence[str]) -> NDArray[np.float32]:
        """Log-probability of each label after each prompt, one forward pass for all: float32 [prompts, labels]."""
        if not labels:
            raise InputError("label_scores needs at least one label")
        rows = [PackedRow(one.embeddings, self.answer_branches(one.prompt, labels)) for one in prompts]
        scores = branch_log_probs(self.language, rows)
        return np.array([[float(tokens.sum()) for tokens in branches] for branches in scores], np.float32)

    def answer_branches(self, prompt: Prompt, answers: Sequence[str]) -> list[list[int]]:
        """Token ids that each answer adds after a prompt."""
        space = " " if self.config.prompt.answer_space else ""
        return [self.tokenizer.encode_answer(prompt.after, answer, space) for answer in answers]

    def answer_prompts(self, prompts: Sequence[EmbeddedPrompt], sampling: Sampling) -> list[str]:
        """Write the answer to each prompt, as one batch."""
        answers = generate_tokens(self.language, [prompt.embeddings for prompt in prompts], sampling)
        return [self.tokenizer.decode(ids) for ids in answers]

    def _embedded(
        self, clip: Clip, question: str, demographics: bool | None, ablate: Collection[str]
    ) -> EmbeddedPrompt:
        whole = PromptInput(slice(0, len(clip.frames)), question, clip.moving, demographics)
        return self.embed_prompts(self.encode(clip), [whole], ablate)[0]

    def _embeddings(self, prompt: Prompt, visual: Tensor) -> Tensor:
        embed = self.language.get_input_embeddings()
        begin, place = [self.config.language.bos_token_id], self.config.language.bos_place
        before = [*(begin if place == "first" else []), *self.tokenizer.encode(prompt.before)]
        after = [*(begin if place == "after_frames" else []), *self.tokenizer.encode(prompt.after)]
        text = [embed(torch.tensor(ids, dtype=torch.long, device=self.device)) for ids in (before, after)]
        return torch.cat([text[0], visual.flatten(0, 1).to(text[0].dtype), text[1]])


def parameter_shapes(config: EmoLlamaConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that a checkpoint of these sizes holds, by name, without making them."""
    with torch.device("meta"):
        model = EmoLlamaForConditionalGeneration(config)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
