"""The LLaMA or Qwen2 of the reference model, through transformers' public interface alone.

Labels are scored on branches of one packed row: the prompt once, then every label's tokens, each label
seeing the prompt and itself. One forward pass gives all of them, exactly as separate passes would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from emo_edge.errors import InputError
from emo_edge.export.configs.networks import LanguageConfig
from emo_edge.runtimes.base.sessions import Sampling

OWN = {"architecture", "bos_place", "rope_factor", "tie_word_embeddings"}
"""Settings that transformers' configs do not have, or have otherwise."""


@dataclass(frozen=True)
class PackedRow:
    """One prompt and the token sequences that may follow it."""

    prompt: Tensor
    """Embeddings [P, E], begin-of-sequence included."""
    branches: Sequence[Sequence[int]]
    """Token ids of each continuation; none is empty."""

    def __len__(self) -> int:
        return len(self.prompt) + sum(len(branch) for branch in self.branches)


def build_llama(config: LanguageConfig) -> Any:
    """Make a ``LlamaForCausalLM`` or ``Qwen2ForCausalLM`` of these sizes on the current default device."""
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    sizes = config.model_dump(exclude=OWN)
    linear = {"rope_type": "linear", "factor": config.rope_factor} if config.rope_factor > 1 else None
    sizes |= {"tie_word_embeddings": False, "rope_scaling": linear, "pad_token_id": None}
    model: Any
    if config.architecture == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**sizes))
    else:
        model = LlamaForCausalLM(LlamaConfig(**sizes))
    if config.tie_word_embeddings:
        model.lm_head = TiedOutput(model.get_input_embeddings())
    return model


class TiedOutput(nn.Module):
    """The output layer whose matrix is the table of embeddings; it has no weights of its own to load or to save."""

    def __init__(self, embeddings: nn.Module) -> None:
        super().__init__()
        # In a tuple, so that the table is not registered, loaded and saved once more.
        self._embeddings = (embeddings,)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return logits [..., V] of hidden states [..., E]."""
        return nn.functional.linear(hidden, self._embeddings[0].get_parameter("weight"))


def rebuild_rotary(language: Any) -> None:
    """Recompute the rotary frequencies, which are no weights, after a construction on the meta device."""
    rotary = language.model.rotary_emb
    language.model.rotary_emb = type(rotary)(config=language.config)


def branch_log_probs(language: Any, rows: Sequence[PackedRow], *, shared: int = 0) -> list[list[Tensor]]:
    """Log-probability of every token of every branch given its prompt: per row, per branch, float32 [tokens].

    The first ``shared`` embeddings, the same in every prompt and not the whole of any, are run once for all rows;
    their gradient then flows through the first row alone.
    """
    _check_context(language, rows)
    packed = _pack(language, rows)
    if shared:
        packed = _behind_shared(language, packed, shared)
    hidden = language.model(**packed, use_cache=bool(shared)).last_hidden_state
    return [_row_log_probs(language, hidden[index], row, shared) for index, row in enumerate(rows)]


def generate_tokens(language: Any, prompts: Sequence[Tensor], sampling: Sampling) -> list[list[int]]:
    """Continue each prompt (embeddings [P, E]) until end-of-sequence; returns the new ids without it."""
    _check_context(language, [PackedRow(prompt, [range(sampling.max_new_tokens)]) for prompt in prompts])
    # At least two: transformers 4.57 feeds a prompt of one embedding again at every step.
    length = max(2, *(len(prompt) for prompt in prompts))
    embeddings = torch.stack([nn.functional.pad(prompt, (0, 0, length - len(prompt), 0)) for prompt in prompts])
    mask = torch.zeros(len(prompts), length, dtype=torch.long, device=embeddings.device)
    for row, prompt in enumerate(prompts):
        mask[row, length - len(prompt) :] = 1
    eos = language.config.eos_token_id
    with torch.random.fork_rng(devices=[embeddings.device] if embeddings.is_cuda else []):
        torch.manual_seed(sampling.seed)
        answer = language.generate(
            inputs_embeds=embeddings,
            attention_mask=mask,
            max_new_tokens=sampling.max_new_tokens,
            pad_token_id=eos,
            **_decoding(sampling),
        )
    return [_until(row.tolist(), eos) for row in answer]


def _decoding(sampling: Sampling) -> dict[str, Any]:
    if sampling.temperature == 0:
        return {"do_sample": False, "temperature": None, "top_p": None}
    # transformers keeps the 50 most probable tokens by default.
    return {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}


def _until(ids: list[int], stop: int) -> list[int]:
    return ids[: ids.index(stop)] if stop in ids else ids


def _check_context(language: Any, rows: Sequence[PackedRow]) -> None:
    limit = language.config.max_position_embeddings
    longest = max(len(row.prompt) + max(len(branch) for branch in row.branches) for row in rows)
    if longest > limit:
        raise InputError(f"the prompt needs {longest} positions, the model has {limit}: use fewer frames or less text")


def _pack(language: Any, rows: Sequence[PackedRow]) -> dict[str, Tensor]:
    """Pad rows on the right; return each slot's position and the slots it may attend to."""
    embed = language.get_input_embeddings()
    device, dtype = embed.weight.device, rows[0].prompt.dtype
    length = max(len(row) for row in rows)
    embeddings, positions, owners = [], [], []
    for row in rows:
        ids = torch.tensor([token for branch in row.branches for token in branch], device=device)
        tokens = torch.cat([row.prompt, embed(ids).to(dtype)])
        embeddings.append(nn.functional.pad(tokens, (0, 0, 0, length - len(tokens))))
        start = len(row.prompt)
        position = [*range(start), *(start + step for branch in row.branches for step in range(len(branch)))]
        owner = [0] * start + [number for number, branch in enumerate(row.branches, 1) for _ in branch]
        padding = length - len(position)
        positions.append(position + [0] * padding)
        owners.append(owner + [-1] * padding)
    owned = torch.tensor(owners, device=device)
    causal = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    visible = causal & ((owned[:, None, :] == 0) | (owned[:, None, :] == owned[:, :, None]))
    hidden = torch.zeros(visible.shape, dtype=dtype, device=device).masked_fill(~visible, torch.finfo(dtype).min)
    return {
        "inputs_embeds": torch.stack(embeddings),
        "position_ids": torch.tensor(positions, device=device),
        "attention_mask": hidden[:, None],
    }


def _behind_shared(language: Any, packed: dict[str, Any], shared: int) -> dict[str, Any]:
    """Run the shared embeddings once; what is left of the packed rows reads their keys and values."""
    from transformers import DynamicCache

    embeddings = packed["inputs_embeds"]
    past = DynamicCache()
    language.model(inputs_embeds=embeddings[:1, :shared], past_key_values=past, use_cache=True)
    past.batch_repeat_interleave(len(embeddings))
    return {
        "inputs_embeds": embeddings[:, shared:],
        "position_ids": packed["position_ids"][:, shared:],
        "attention_mask": packed["attention_mask"][:, :, shared:],
        "past_key_values": past,
    }


def _row_log_probs(language: Any, hidden: Tensor, row: PackedRow, shared: int) -> list[Tensor]:
    """Read each branch's tokens off the states that predict them: the prompt's last, then the branch's own."""
    start = len(row.prompt) - shared
    sources: list[int] = []
    targets: list[int] = []
    for branch in row.branches:
        sources += [len(row.prompt) - shared - 1, *range(start, start + len(branch) - 1)]
        targets += branch
        start += len(branch)
    logits = language.lm_head(hidden[sources]).float()
    chosen = torch.tensor(targets, device=logits.device)
    log_probs = logits.log_softmax(-1).gather(-1, chosen[:, None])[:, 0]
    return list(log_probs.split([len(branch) for branch in row.branches]))
