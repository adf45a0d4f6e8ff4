"""One contract, every engine: the same cases on PyTorch and llama.cpp, and on PyTorch and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_edge.errors import InputError
from emo_edge.sessions import LanguageSession, Sampling, TensorSession, TensorSpec

TOLERANCE = 2e-3
"""Of a log-probability: float32 weights and attention cache on both sides, other summation orders."""


@pytest.fixture(scope="module")
def model() -> Any:
    from emo_edge.export.model import EmoLlamaForConditionalGeneration
    from emo_edge.packaged import packaged_checkpoint

    return EmoLlamaForConditionalGeneration.from_pretrained(packaged_checkpoint())


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory, model: Any) -> Path:
    from emo_edge.export.gguf_file import gguf_from_checkpoint
    from emo_edge.packaged import packaged_checkpoint

    path = tmp_path_factory.mktemp("gguf") / "f32.gguf"
    return gguf_from_checkpoint(packaged_checkpoint(), model.config.language, path, file_type="f32", name="toy")


@pytest.fixture(scope="module", params=["torch", "llama"])
def language(request: pytest.FixtureRequest, model: Any, gguf: Path) -> Iterator[LanguageSession]:
    if request.param == "torch":
        from emo_edge.runtimes.torch import TorchLanguageSession

        session: LanguageSession = TorchLanguageSession(model.language, model.tokenizer)
    else:
        from emo_edge.runtimes.llama import LlamaSession

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

    from emo_edge.export.language import PackedRow, branch_log_probs

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

    from emo_edge.export.language import generate_tokens

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


class Doubled(TensorSession):
    def _run(self, feed: Any) -> dict[str, Any]:
        return {"y": feed["x"] * 2}

    def close(self) -> None: ...


def test_a_graph_is_fed_exactly_its_inputs() -> None:
    session = Doubled(
        [TensorSpec("x", "float32", ("N", 2)), TensorSpec("m", "int64", ("N",))], [TensorSpec("y", "float32", ("N", 2))]
    )
    good = {"x": np.ones((3, 2), np.float32), "m": np.ones(3, np.int64)}
    assert session.run(good)["y"].tolist() == [[2, 2]] * 3
    for spoilt, message in (
        ({"x": good["x"]}, "m is missing"),
        ({**good, "z": good["m"]}, "z is no input"),
        ({**good, "x": np.ones((3, 2))}, "x is float64, the graph asks for float32"),
        ({**good, "x": np.ones((3, 4), np.float32)}, r"x has shape \[3, 4\], the graph asks for \[3, 2\]"),
        ({**good, "m": np.ones(4, np.int64)}, r"m has shape \[4\], the graph asks for \[3\]"),
        ({**good, "m": np.ones((3, 1), np.int64)}, r"m has shape \[3, 1\]"),
    ):
        with pytest.raises(InputError, match=message):
            session.run(spoilt)


def test_onnx_and_torch_graphs_give_the_same(model: Any, tmp_path: Path) -> None:
    from emo_edge.export.onnx_graphs import onnx_from_component, save_graph
    from emo_edge.runtimes.onnx import OnnxSession
    from emo_edge.runtimes.torch import TorchSession

    graph = onnx_from_component(model, "vision", "fp32")
    image = np.random.default_rng(1).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    torch_session = TorchSession(
        lambda feed: {"features": model.vision_features(feed["image"].numpy())}, graph.inputs, graph.outputs
    )
    with OnnxSession(save_graph(graph, tmp_path / "vision.onnx")[0], graph.inputs, graph.outputs) as session:
        found, true = session.run({"image": image}), torch_session.run({"image": image})
    np.testing.assert_allclose(found["features"], true["features"], atol=1e-4 * np.abs(true["features"]).max())
