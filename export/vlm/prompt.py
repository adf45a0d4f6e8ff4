"""The prompt of a VLM: its conversation, its tokens, and whether the context holds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from emo_edge.bundle.gguf_header import GgufHeader
from emo_edge.bundle.manifest import Manifest
from emo_edge.bundle.prompts import (
    IMAGE_MARK,
    BeginSegment,
    FramesSegment,
    PromptConfig,
    Segment,
    TextSegment,
    TokenGroup,
    classify_question,
)
from emo_edge.errors import BundleError, InputError
from emo_edge.export.vlm.chat_template import QUESTION, ChatPrompt, chat_prompt
from emo_edge.export.vlm.config import VlmConfig
from emo_edge.inference.prompt_layout import Prompt
from emo_edge.runtimes.llama_cpp.vocabulary import Vocabulary
from emo_edge.utils.settings import problem_list

ANSWER_POSITIONS = 64
"""Kept free behind the longest prompt, for an answer."""
EXAMPLE = f"'USER: {IMAGE_MARK}\\n{QUESTION} ASSISTANT:'"
TEMPLATE_KEY, TOKENS_KEY = "tokenizer.chat_template", "tokenizer.ggml.tokens"


@dataclass(frozen=True)
class TokenFacts:
    """Facts about a prompt that a model's vocabulary decides."""

    begins: bool
    """True if a prompt begins with the begin-of-sequence token: the vocabulary or the template says so."""
    answer_space: bool
    """True if a space goes between the prompt and an answer: not behind white space or a control token."""


def conversation(header: GgufHeader, config: VlmConfig) -> ChatPrompt:
    """Return the user's template or the file's, split where the picture goes.

    Raises InputError for a template of the user's without places for picture and question, BundleError for a file's.
    """
    if config.template is not None:
        before, mark, after = config.template.partition(IMAGE_MARK)
        if not mark or after.count(QUESTION) != 1:
            raise InputError(f"the template needs {IMAGE_MARK}, and {QUESTION} behind it, as in {EXAMPLE}")
        return ChatPrompt(before, after)
    template = header.metadata.get(TEMPLATE_KEY)
    if not isinstance(template, str):
        raise BundleError(f"the language model has no chat template; give `template`, such as {EXAMPLE}")
    return chat_prompt(template, _token_text(header, "bos"), _token_text(header, "eos"), config.system)


def token_facts(model: Path, prompt: ChatPrompt) -> TokenFacts:
    """Ask the vocabulary of a file that this process may open."""
    with Vocabulary(model) as vocabulary:
        control = any(map(vocabulary.is_control, vocabulary.tokenize(prompt.after, control=True)[-1:]))
        begins = prompt.begins or vocabulary.adds_begin
        return TokenFacts(begins, answer_space=not (prompt.after[-1:].isspace() or control))


def prompt_config(prompt: ChatPrompt, config: VlmConfig, *, answer_space: bool = True) -> PromptConfig:
    """Return the prompt of the manifest; raise InputError for a question or a conversation that cannot be used."""
    try:
        return PromptConfig(
            template=prompt.template,
            classify=config.classify,
            use_demographics=config.use_demographics,
            answer_space=answer_space,
        )
    except ValidationError as error:
        raise InputError(problem_list("the prompt", PromptConfig, {}, error)) from error


def layout(prompt: ChatPrompt, positions: int, facts: TokenFacts) -> tuple[Segment, ...]:
    """Return the segments of the prompt, with a picture of so many positions."""
    begin = (BeginSegment(),) if facts.begins else ()
    before = (TextSegment(text=prompt.before, control=True),) if prompt.before else ()
    picture = FramesSegment(groups=(TokenGroup(name="picture", count=positions, component="vision"),))
    return (*begin, *before, picture, TextSegment(text=prompt.after, control=True))


def check_prompts(model: Path, manifest: Manifest, trained: int) -> None:
    """Raise BundleError where the context does not hold a picture and a question, InputError for unscorable labels.

    ``trained`` is the number of positions that the model was trained with, which no choice extends.
    """
    size, picture = manifest.components.language, manifest.frames_segment.tokens_per_frame
    context = size.context_size if size else 0
    with Vocabulary(model) as vocabulary:
        for labels in manifest.label_sets.values():
            prompt = Prompt(manifest, classify_question(manifest.prompt, labels))
            text = sum(len(chunk) for chunk in prompt.chunks(vocabulary, []))
            longest = max(len(branch) for branch in prompt.branches(vocabulary, labels))
            needed = picture + text + max(longest, ANSWER_POSITIONS)
            if needed > context:
                larger = "a larger `context` or " if needed <= trained else ""
                limit = "" if needed <= trained else f", as the model was trained with {trained}"
                raise BundleError(
                    f"a picture of {picture} positions, the question and an answer need {needed}, the context has "
                    f"{context}{limit}: choose {larger}a smaller `picture_size`"
                )


def _token_text(header: GgufHeader, kind: str) -> str:
    index, tokens = header.metadata.get(f"tokenizer.ggml.{kind}_token_id"), header.arrays[TOKENS_KEY].values
    if isinstance(index, int) and isinstance(tokens, list) and 0 <= index < len(tokens):
        return tokens[index].decode("utf-8", "replace")
    return ""
