"""LLaMA against plain forward passes: packed branches, padded generation, sampling."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from emo_edge.errors import InputError
from emo_edge.export.configs.networks import LanguageConfig
from emo_edge.export.models.llama import PackedRow, branch_log_probs, build_llama, generate_tokens, rebuild_rotary
from emo_edge.runtimes.base.sessions import Sampling

CONFIG = LanguageConfig(
    vocab_size=97,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
)


@pytest.fixture(scope="module")
def language() -> Any:
    torch.manual_seed(0)
    model = build_llama(CONFIG).eval().requires_grad_(False)
    for part in model.parameters():
        part += 0.3 * torch.randn_like(part) * (part.shape[-1] ** -0.5 if part.ndim > 1 else 1)
    return model


@pytest.fixture(scope="module")
def prompts() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(length, CONFIG.hidden_size, generator=generator) for length in (5, 1, 12)]


BRANCHES: list[list[list[int]]] = [
    [[7], [8, 9], [7, 10, 11, 12]],
    [[96, 1, 2], [96, 1, 3]],
    [[5], [5], [6]],
]


def plain(language: Any, prompt: Tensor, branch: list[int]) -> Tensor:
    """Log-probability of each token of one branch, by one forward pass of the prompt and it."""
    embedded = language.get_input_embeddings()(torch.tensor(branch))
    logits = language(inputs_embeds=torch.cat([prompt, embedded])[None]).logits[0].double()
    steps = [logits[len(prompt) - 1 + place].log_softmax(-1)[token] for place, token in enumerate(branch)]
    return torch.stack(steps)


def test_packed_branches_equal_separate_passes(language: Any, prompts: list[Tensor]) -> None:
    rows = [PackedRow(prompt, branches) for prompt, branches in zip(prompts, BRANCHES, strict=True)]
    actual = branch_log_probs(language, rows)
    for row, scores in zip(rows, actual, strict=True):
        for branch, score in zip(row.branches, scores, strict=True):
            assert score.dtype == torch.float32
            assert (score - plain(language, row.prompt, list(branch))).abs().max() <= 1e-5


def test_a_shared_start_run_once_changes_neither_scores_nor_gradients(prompts: list[Tensor]) -> None:
    torch.manual_seed(0)
    model = build_llama(CONFIG)
    start, seen = model.get_input_embeddings()(torch.tensor([1, 30, 40])), []
    for shared in (0, 3):
        rows = [PackedRow(torch.cat([start, rest]), branches) for rest, branches in zip(prompts, BRANCHES, strict=True)]
        scores = torch.cat([score for row in branch_log_probs(model, rows, shared=shared) for score in row])
        model.zero_grad()
        scores.sum().backward(retain_graph=True)
        seen.append([scores.detach(), *(part.grad.clone() for part in model.parameters())])
    for apart, together in zip(*seen, strict=True):
        assert (apart - together).abs().max() <= 1e-5 * max(1, float(apart.abs().max()))


def test_a_branch_sees_neither_its_neighbours_nor_the_padding(language: Any, prompts: list[Tensor]) -> None:
    alone = branch_log_probs(language, [PackedRow(prompts[0], [[8, 9]])])[0][0]
    among = branch_log_probs(language, [PackedRow(prompts[0], [[50, 60], [8, 9], [70]]), PackedRow(prompts[2], [[1]])])
    assert (alone - among[0][1]).abs().max() <= 1e-5


def test_all_first_tokens_are_a_distribution(language: Any, prompts: list[Tensor]) -> None:
    limited = (
        PackedRow(prompts[1], [[token] for token in range(60)]),
        PackedRow(prompts[1], [[token] for token in range(60, 97)]),
    )
    scores = [score.exp() for row in branch_log_probs(language, limited) for score in row]
    assert float(torch.cat(scores).sum()) == pytest.approx(1, abs=1e-5)


def test_branches_carry_gradients_as_training_needs(prompts: list[Tensor]) -> None:
    torch.manual_seed(0)
    model = build_llama(CONFIG)
    prompt = prompts[0].clone().requires_grad_()
    branch_log_probs(model, [PackedRow(prompt, [[3, 4]])])[0][0].sum().backward()
    assert prompt.grad is not None and prompt.grad.abs().sum() > 0
    assert all(part.grad is not None for part in model.parameters())


def naive_greedy(language: Any, prompt: Tensor, steps: int) -> list[int]:
    ids: list[int] = []
    sequence = prompt
    for _ in range(steps):
        token = int(language(inputs_embeds=sequence[None]).logits[0, -1].argmax())
        if token == CONFIG.eos_token_id:
            break
        ids.append(token)
        sequence = torch.cat([sequence, language.get_input_embeddings()(torch.tensor([token]))])
    return ids


def test_a_greedy_batch_equals_each_prompt_alone_and_a_naive_loop(language: Any, prompts: list[Tensor]) -> None:
    together = generate_tokens(language, prompts, Sampling(max_new_tokens=10))
    alone = [generate_tokens(language, [prompt], Sampling(max_new_tokens=10))[0] for prompt in prompts]
    naive = [naive_greedy(language, prompt, 10) for prompt in prompts]
    assert together == alone == naive
    assert len({tuple(ids) for ids in naive}) == 3, "the prompts of this test must lead to different answers"


def test_an_answer_ends_before_end_of_sequence(language: Any, prompts: list[Tensor]) -> None:
    free = naive_greedy(language, prompts[0], 10)
    stop = next(place for place, token in enumerate(free) if place > 1 and token not in free[:place])
    language.generation_config.eos_token_id = language.config.eos_token_id = free[stop]
    try:
        answers = generate_tokens(language, prompts, Sampling(max_new_tokens=10))
    finally:
        language.generation_config.eos_token_id = language.config.eos_token_id = CONFIG.eos_token_id
    assert answers[0] == free[:stop]
    assert all(free[stop] not in answer for answer in answers)


def sampled(language: Any, prompts: list[Tensor], seed: int, **settings: Any) -> list[list[int]]:
    return generate_tokens(language, prompts, Sampling(max_new_tokens=12, temperature=1.5, seed=seed, **settings))


def test_sampling_repeats_with_its_seed_and_differs_with_another(language: Any, prompts: list[Tensor]) -> None:
    assert sampled(language, prompts, 3) == sampled(language, prompts, 3)
    assert sampled(language, prompts, 3) != sampled(language, prompts, 4)


def test_sampling_reaches_every_token_unless_top_p_narrows_it(language: Any, prompts: list[Tensor]) -> None:
    batch = [prompts[0]] * 400
    hot = generate_tokens(language, batch, Sampling(max_new_tokens=1, temperature=50.0))
    # transformers' own default would keep the 50 likeliest tokens.
    assert len({tuple(ids) for ids in hot}) > 80
    narrow = generate_tokens(language, batch, Sampling(max_new_tokens=1, temperature=1.0, top_p=1e-6))
    assert {tuple(ids) for ids in narrow} == {tuple(naive_greedy(language, prompts[0], 1))}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_generating_leaves_torchs_generator_alone(language: Any, prompts: list[Tensor], temperature: float) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    generate_tokens(language, prompts, Sampling(max_new_tokens=3, temperature=temperature))
    assert torch.equal(torch.get_rng_state(), before)


def test_context_that_is_too_long_is_an_input_error(language: Any) -> None:
    prompt = torch.zeros(60, CONFIG.hidden_size)
    assert len(branch_log_probs(language, [PackedRow(prompt, [[1] * 4])])[0][0]) == 4
    with pytest.raises(InputError, match="needs 65 positions, the model has 64: use fewer frames or less text"):
        branch_log_probs(language, [PackedRow(prompt, [[1], [1] * 5])])
    with pytest.raises(InputError, match="needs 65 positions"):
        generate_tokens(language, [prompt[:3], prompt], Sampling(max_new_tokens=5))


@pytest.mark.parametrize(
    "settings",
    [{"max_new_tokens": 0}, {"temperature": -1.0}, {"temperature": float("nan")}, {"top_p": 0.0}, {"top_p": 1.5}],
)
def test_sampling_that_cannot_be_is_an_input_error(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="sampling needs"):
        Sampling(**settings)


def test_rotary_is_rebuilt_after_a_meta_construction(language: Any, prompts: list[Tensor]) -> None:
    with torch.device("meta"):
        model = build_llama(CONFIG)
    model.load_state_dict(language.state_dict(), assign=True)
    rebuild_rotary(model)
    row = PackedRow(prompts[2], [[4, 5]])
    assert torch.equal(branch_log_probs(model.eval(), [row])[0][0], branch_log_probs(language, [row])[0][0])
