"""One contract, every engine: the same cases on PyTorch and llama.cpp, and on PyTorch, ONNX Runtime and OpenVINO."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_edge.errors import InputError
from emo_edge.runtimes.base.sessions import LanguageSession, Sampling, TensorSession

TOLERANCE = 2e-3
"""Of a log-probability: float32 weights and attention cache on both sides, other summation orders."""


@pytest.fixture(scope="module")
def model() -> Any:
    from emo_edge.assets.packaged import packaged_checkpoint
    from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration

    return EmoLlamaForConditionalGeneration.from_pretrained(packaged_checkpoint())


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory, model: Any) -> Path:
    from emo_edge.assets.packaged import packaged_checkpoint
    from emo_edge.export.gguf.writer import gguf_from_checkpoint

    path = tmp_path_factory.mktemp("gguf") / "f32.gguf"
    return gguf_from_checkpoint(packaged_checkpoint(), model.config.language, path, file_type="f32", name="toy")


@pytest.fixture(scope="module", params=["torch", "llama"])
def language(request: pytest.FixtureRequest, model: Any, gguf: Path) -> Iterator[LanguageSession]:
    if request.param == "torch":
        from emo_edge.runtimes.torch import TorchLanguageSession

        session: LanguageSession = TorchLanguageSession(model.language, model.tokenizer)
    else:
        from emo_edge.runtimes.llama_cpp.session import LlamaSession

        session = LlamaSession(gguf, context_size=1024, exact_cache=True)
    with session:
        yield session


@pytest.fixture(scope="module")
def prompt(model: Any) -> list[Any]:
    before = [1, *model.tokenizer.encode("USER: ")]
    frames = np.random.default_rng(5).normal(0, 0.1, (9, 256)).astype(np.float32)
    return [before, frames, model.tokenizer.encode("\nWhich facial cues are visible? ASSISTANT:")]


def expected(model: Any, prompt: list[Any], branches: list[list[int]]) -> list[np.ndarray]:
    import torch

    from emo_edge.export.models.llama import PackedRow, branch_log_probs

    embed = model.language.get_input_embeddings()
    with torch.inference_mode():
        parts = [
            torch.from_numpy(chunk) if isinstance(chunk, np.ndarray) else embed(torch.tensor(chunk)) for chunk in prompt
        ]
        return [
            tokens.numpy() for tokens in branch_log_probs(model.language, [PackedRow(torch.cat(parts), branches)])[0]
        ]


BRANCHES = [[5], [7, 300, 12], [7, 300], [400] * 9, [5, 5]]


def test_scores_are_the_references(language: LanguageSession, model: Any, prompt: list[Any]) -> None:
    language.prefill(prompt)
    found = language.score(BRANCHES)
    for mine, true in zip(found, expected(model, prompt, BRANCHES), strict=True):
        np.testing.assert_allclose(mine, true, atol=TOLERANCE)


def test_scoring_leaves_the_prompt_as_it_was(language: LanguageSession, prompt: list[Any]) -> None:
    language.prefill(prompt)
    first = language.score(BRANCHES)
    list(language.generate(Sampling(max_new_tokens=5)))
    for one, other in zip(first, language.score(BRANCHES), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_new_prompt_replaces_the_one_before(language: LanguageSession, model: Any, prompt: list[Any]) -> None:
    language.prefill(prompt)
    other = [prompt[0], prompt[1] * 2, prompt[2][:-3]]
    language.prefill(other)
    assert language.used == sum(len(chunk) for chunk in other)
    np.testing.assert_allclose(language.score([[5]])[0], expected(model, other, [[5]])[0], atol=TOLERANCE)


def test_greedy_answers_are_the_references(language: LanguageSession, model: Any, prompt: list[Any]) -> None:
    import torch

    from emo_edge.export.models.llama import generate_tokens

    embed = model.language.get_input_embeddings()
    parts = [
        torch.from_numpy(chunk) if isinstance(chunk, np.ndarray) else embed(torch.tensor(chunk)) for chunk in prompt
    ]
    with torch.inference_mode():
        ids = generate_tokens(model.language, [torch.cat(parts)], Sampling(max_new_tokens=12))[0]
    language.prefill(prompt)
    assert "".join(language.generate(Sampling(max_new_tokens=12))).strip() == model.tokenizer.decode(ids)


def test_sampling_repeats_with_its_seed(language: LanguageSession, prompt: list[Any]) -> None:
    language.prefill(prompt)
    warm = Sampling(max_new_tokens=8, temperature=1.5, top_p=0.95, seed=3)
    assert list(language.generate(warm)) == list(language.generate(warm))


@pytest.mark.parametrize("text", ["", " ", "USER: ", "a  b\n", "ünïcode 😀", "\nWhat? ASSISTANT:"])
def test_tokens_are_sentencepieces(language: LanguageSession, model: Any, text: str) -> None:
    assert language.tokenize(text) == model.tokenizer.encode(text)


def test_what_cannot_be_read_is_refused(language: LanguageSession, prompt: list[Any]) -> None:
    for wrong, message in (
        ([], "empty"),
        ([[]], "empty"),
        ([np.zeros((2, 7), np.float32)], r"the model reads \[M, 256\]"),
        ([[3] * (language.context_size + 1)], "use fewer frames"),
    ):
        with pytest.raises(InputError, match=message):
            language.prefill(wrong)
    language.prefill(prompt)
    for branches in ([], [[]], [[3], []]):
        with pytest.raises(InputError, match="branch"):
            language.score(branches)
    with pytest.raises(InputError, match="use fewer frames"):
        language.score([[3] * language.context_size])


def test_an_answer_ends_when_the_prompt_changes(language: LanguageSession, prompt: list[Any]) -> None:
    language.prefill(prompt)
    answer = language.generate(Sampling(max_new_tokens=30, temperature=1.0))
    next(answer)
    language.prefill(prompt[:1])
    with pytest.raises(RuntimeError, match="used again"):
        list(answer)


@pytest.fixture(scope="module")
def graph(model: Any, tracing_once: Any) -> Any:
    from emo_edge.export.onnx.export import onnx_from_component

    with tracing_once():
        return onnx_from_component(model, "connector", "fp32")


@pytest.fixture(params=["torch", "onnx", "openvino"])
def tensors(request: pytest.FixtureRequest, model: Any, graph: Any, tmp_path: Path) -> Iterator[TensorSession]:
    """The connector: two inputs that vary in one size, and one that varies in two."""
    if request.param == "torch":
        from emo_edge.runtimes.torch import TorchSession

        def connector(feed: Any) -> dict[str, Any]:
            return {"visual_tokens": model.connector(feed["features"], feed["question_ids"], feed["question_mask"])}

        session: TensorSession = TorchSession(connector, graph.inputs, graph.outputs)
    else:
        from emo_edge.export.onnx.graph_file import save_graph
        from emo_edge.runtimes.onnx import OnnxSession
        from emo_edge.runtimes.openvino import OpenVinoSession

        engine = OnnxSession if request.param == "onnx" else OpenVinoSession
        session = engine(save_graph(graph, tmp_path / "connector.onnx")[0], graph.inputs, graph.outputs)
    with session:
        yield session


def connector_feed(model: Any, count: int, length: int) -> dict[str, np.ndarray]:
    draw, vision = np.random.default_rng(count), model.config.vision
    ids = draw.integers(1, 200, (count, length))
    shape = (count, vision.grid**2 + 1, vision.hidden_size)
    features = draw.normal(size=shape).astype(np.float32)
    return {"features": features, "question_ids": ids, "question_mask": np.ones_like(ids)}


@pytest.mark.parametrize(("count", "length"), [(1, 4), (3, 9)])
def test_a_graph_computes_the_references_outputs(tensors: TensorSession, model: Any, count: int, length: int) -> None:
    import torch

    feed = connector_feed(model, count, length)
    with torch.inference_mode():
        true = model.connector(*(torch.from_numpy(feed[spec.name]) for spec in tensors.inputs)).numpy()
    found = tensors.run(feed)
    assert set(found) == {"visual_tokens"}
    assert found["visual_tokens"].dtype == np.float32
    np.testing.assert_allclose(found["visual_tokens"], true, atol=1e-4 * np.abs(true).max())


def test_what_a_graph_returns_is_the_callers(tensors: TensorSession, model: Any) -> None:
    feed = connector_feed(model, 2, 5)
    first = tensors.run(feed)["visual_tokens"]
    kept = first.copy()
    tensors.run(connector_feed(model, 3, 5))
    np.testing.assert_array_equal(first, kept)
    first[:] = 0
    np.testing.assert_allclose(tensors.run(feed)["visual_tokens"], kept, atol=1e-6)


def test_a_graph_is_fed_exactly_its_inputs(tensors: TensorSession, model: Any) -> None:
    good = connector_feed(model, 2, 5)
    for spoilt, message in (
        ({"features": good["features"]}, "question_ids is missing; question_mask is missing"),
        ({**good, "z": good["features"]}, "z is no input"),
        ({**good, "features": good["features"].astype(np.float64)}, "features is float64, the graph asks for float32"),
        ({**good, "features": good["features"][..., :4]}, r"features has shape \[2, \d+, 4\], the graph asks for"),
        ({**good, "question_ids": good["question_ids"][:1]}, r"question_ids has shape \[1, 5\]"),
        ({**good, "question_mask": good["question_mask"][:, :3]}, r"question_mask has shape \[2, 3\]"),
        ({**good, "question_ids": good["question_ids"][0]}, r"question_ids has shape \[5\]"),
    ):
        with pytest.raises(InputError, match=message):
            tensors.run(spoilt)


def test_a_closed_graph_runs_nothing(tensors: TensorSession, model: Any) -> None:
    tensors.close()
    tensors.close()
    with pytest.raises(ValueError, match="closed"):
        tensors.run(connector_feed(model, 1, 4))
