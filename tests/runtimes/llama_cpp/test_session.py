"""llama.cpp against PyTorch and against itself: scores, reuse, answers, tokens, and machines it crashes on."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from emo_edge.bundle.gguf_header import read_gguf_header
from emo_edge.errors import CheckpointError, DeviceError, InputError
from emo_edge.export.configs.networks import LanguageConfig
from emo_edge.export.gguf.quantize import quantize_gguf
from emo_edge.export.models.llama import PackedRow, branch_log_probs, build_llama, generate_tokens
from emo_edge.export.reference.tokenizer import LanguageTokenizer
from emo_edge.runtimes.base.sessions import Chunk, Sampling
from emo_edge.runtimes.llama_cpp.library import ANSWERS_NAME, _warn_of_amx, fast_path_is_safe, library
from emo_edge.runtimes.llama_cpp.sampling import choose
from emo_edge.runtimes.llama_cpp.session import LlamaSession
from emo_edge.utils.cache import cache_directory

LABELS = [[300], [301, 302], [301, 303, 304], [300], [400, 12, 775, 401, 0]]
AMX = "CPU : AVX512 = 1 | AMX_INT8 = 1 | "


@pytest.fixture
def session(files: dict[str, Path]) -> Iterator[LlamaSession]:
    with LlamaSession(files["f32"], context_size=128, threads=1, exact_cache=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def frames(config: LanguageConfig) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 0.1, (9, config.hidden_size)).astype(np.float32)


@pytest.fixture(scope="module")
def prompt(frames: NDArray[np.float32]) -> list[Chunk]:
    return [[1, 300, 310], frames, [320, 330, 340]]


def embedded(language: Any, prompt: list[Chunk]) -> torch.Tensor:
    embed = language.get_input_embeddings()
    parts = [torch.from_numpy(part) if isinstance(part, np.ndarray) else embed(torch.tensor(part)) for part in prompt]
    return torch.cat(parts)


def distance(one: list[Any], other: list[Any]) -> float:
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in zip(one, other, strict=True))


def same(one: list[Any], other: list[Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    # Weights or cache in float16 round each product to 11 bits: 1.3e-3 to 1.8e-3 here.
    ("kind", "exact", "tolerance"),
    [("f32", True, 1e-5), ("f32", False, 5e-3), ("f16", True, 5e-3), ("f16", False, 5e-3)],
)
def test_scores_are_pytorchs(
    files: dict[str, Path], language: Any, prompt: list[Chunk], kind: str, exact: bool, tolerance: float
) -> None:
    expected = branch_log_probs(language, [PackedRow(embedded(language, prompt), LABELS)])[0]
    with LlamaSession(files[kind], context_size=64, threads=1, exact_cache=exact) as session:
        assert session.prefill(prompt) == 15
        scores = session.score(LABELS)
    assert [(part.dtype, len(part)) for part in scores] == [(np.float32, len(label)) for label in LABELS]
    assert distance(scores, expected) < tolerance


def test_a_small_cache_scores_nearly_the_same(files: dict[str, Path], prompt: list[Chunk]) -> None:
    scores = []
    for small in (False, True):
        with LlamaSession(files["f16"], context_size=64, threads=1, small_cache=small) as session:
            session.prefill(prompt)
            scores.append(session.score(LABELS))
    # q8_0 keeps 8 bits of each key and value.
    assert 0 < distance(*scores) < 0.05


def test_scoring_leaves_the_prompt_as_it_was(session: LlamaSession, prompt: list[Chunk]) -> None:
    session.prefill(prompt)
    first = session.score(LABELS)
    assert same(first, session.score(LABELS))
    assert same(first[2:3], session.score(LABELS[2:3]))


@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0"])
@pytest.mark.parametrize("exact", [True, False])
def test_what_prompts_share_is_kept_bit_for_bit(
    files: dict[str, Path], prompt: list[Chunk], frames: NDArray[np.float32], kind: str, exact: bool
) -> None:
    with LlamaSession(files[kind], context_size=128, threads=1, exact_cache=exact) as session:
        assert session.prefill(prompt) == 15
        first = session.score(LABELS)
        assert session.prefill([[1], [300, 310], frames[:4], frames[4:].copy(), [320, 330, 340]]) == 0
        assert same(first, session.score(LABELS))
        assert session.prefill([*prompt[:2], [350, 360, 370, 380]]) == 4
        assert not same(first, session.score(LABELS))
        assert session.prefill(prompt) == 3
        assert same(first, session.score(LABELS))


@pytest.mark.parametrize("exact", [True, False])
def test_a_rest_cut_otherwise_is_the_same_to_rounding(files: dict[str, Path], prompt: list[Chunk], exact: bool) -> None:
    with LlamaSession(files["f16"], context_size=128, threads=1, exact_cache=exact) as session:
        session.prefill(prompt)
        first = session.score(LABELS)
        assert session.prefill([*prompt[:2], [320, 350]]) == 1
        assert session.prefill(prompt) == 2
        assert distance(first, session.score(LABELS)) < 2e-3


def test_changed_embeddings_and_shorter_prompts(
    session: LlamaSession, prompt: list[Chunk], frames: NDArray[np.float32], files: dict[str, Path]
) -> None:
    buffer = frames.copy()
    session.prefill([[1, 300, 310], buffer, [320, 330, 340]])
    buffer[5] += 1
    assert session.prefill([[1, 300, 310], buffer, [320, 330, 340]]) == 15 - 3 - 5
    assert session.prefill([[1, 300, 310], buffer[:2]]) == 1
    shorter = session.score(LABELS)
    with LlamaSession(files["f32"], context_size=128, threads=1, exact_cache=True) as fresh:
        fresh.prefill([[1, 300, 310], buffer[:2]])
        assert distance(shorter, fresh.score(LABELS)) < 1e-5


def test_more_branches_than_sequences(session: LlamaSession, files: dict[str, Path], prompt: list[Chunk]) -> None:
    branches = [[300 + step, *range(400, 400 + step % 5)] for step in range(23)]
    session.prefill(prompt)
    together = session.score(branches)
    with LlamaSession(files["f32"], context_size=32, threads=1, exact_cache=True, max_branches=2) as small:
        small.prefill(prompt)
        assert distance(small.score(branches), together) < 1e-5
        long = [list(range(300, 317)), [300], list(range(400, 417))]
        assert distance(small.score(long), session.score(long)) < 1e-5
        assert same(small.score(long), small.score(long))


def test_long_prompts_and_branches_take_several_batches(
    files: dict[str, Path], language: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [1, *(300 + step % 90 for step in range(99))]
    branches = [list(range(300, 340)), list(range(340, 380))]
    expected = branch_log_probs(language, [PackedRow(embedded(language, [ids]), branches)])[0]
    monkeypatch.setattr("emo_edge.runtimes.llama_cpp.session.BATCH", 32)
    with LlamaSession(files["f32"], context_size=160, threads=1, exact_cache=True, max_branches=4) as session:
        assert session.prefill([ids]) == 100
        assert distance(session.score(branches), expected) < 1e-5


def test_greedy_answers_are_transformers(
    session: LlamaSession, language: Any, prompt: list[Chunk], tokenizer_directory: Path
) -> None:
    sampling = Sampling(max_new_tokens=24)
    ids = generate_tokens(language, [embedded(language, prompt)], sampling)[0]
    session.prefill(prompt)
    before = session.score(LABELS)
    answer = "".join(session.generate(sampling))
    assert len(set(ids)) > 3
    assert answer.rstrip() == LanguageTokenizer(tokenizer_directory).decode(ids)
    assert same(before, session.score(LABELS))
    assert answer == "".join(session.generate(sampling))
    assert session.prefill(prompt) == 0


def test_sampled_answers_follow_the_seed(session: LlamaSession, prompt: list[Chunk]) -> None:
    session.prefill(prompt)

    def answer(seed: int, **options: float) -> str:
        return "".join(session.generate(Sampling(max_new_tokens=12, temperature=1.0, seed=seed, **options)))  # type: ignore[arg-type]

    assert answer(1) == answer(1)
    assert len({answer(seed) for seed in range(4)}) == 4
    greedy = "".join(session.generate(Sampling(max_new_tokens=12)))
    assert answer(1, top_p=1e-6) == greedy


def test_choose_keeps_the_likeliest_that_reach_top_p() -> None:
    logits = np.log(np.array([0.1, 0.5, 0.05, 0.35], np.float32))
    draws = np.random.default_rng(0)

    def shares(**options: float) -> NDArray[np.float64]:
        sampling = Sampling(**options)  # type: ignore[arg-type]
        return np.bincount([choose(logits, sampling, draws) for _ in range(4000)], minlength=4) / 4000

    np.testing.assert_allclose(shares(temperature=1.0), [0.1, 0.5, 0.05, 0.35], atol=0.03)
    np.testing.assert_allclose(shares(temperature=1.0, top_p=0.6), [0, 0.5 / 0.85, 0, 0.35 / 0.85], atol=0.03)
    np.testing.assert_allclose(shares(temperature=0.5)[1], 0.25 / (0.01 + 0.25 + 0.0025 + 0.1225), atol=0.03)
    assert shares(temperature=5e-324)[1] == shares(temperature=0.0)[1] == 1


@pytest.fixture(scope="module")
def speller(config: LanguageConfig, write: Callable[..., Path], tokenizer_directory: Path) -> tuple[Path, list[int]]:
    """A model without layers' effect: each token's embedding asks for the token after it in a given text."""
    pieces = LanguageTokenizer(tokenizer_directory)
    text = pieces.encode("the😀!")
    assert len(text) == len(set(text))
    model = build_llama(config).requires_grad_(False)
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    model.model.embed_tokens.weight.normal_(generator=torch.Generator().manual_seed(0))
    model.lm_head.weight.zero_()
    for token, after in zip([1, *text], [*text, 2], strict=True):
        model.lm_head.weight[after] = model.model.embed_tokens.weight[token]
    return write(model, "f16"), text


def test_answers_end_at_the_end_token_and_hold_whole_characters(speller: tuple[Path, list[int]]) -> None:
    path, text = speller
    with LlamaSession(path, context_size=64, threads=1) as session:
        session.prefill([[1]])
        pieces = list(session.generate(Sampling(max_new_tokens=40)))
        assert "".join(pieces) == "the😀!"
        assert "😀" in pieces
        assert pieces[0][0] == "t"
        cut = list(session.generate(Sampling(max_new_tokens=len(text) - 2)))
        assert "".join(cut) == "the\ufffd"


def test_an_unfinished_answer_ends_when_the_session_is_used_again(session: LlamaSession, prompt: list[Chunk]) -> None:
    session.prefill(prompt)
    before = session.score(LABELS)
    answer = session.generate(Sampling(max_new_tokens=50))
    next(answer)
    assert same(before, session.score(LABELS))
    with pytest.raises(RuntimeError, match="used again"):
        next(answer)
    abandoned = session.generate(Sampling(max_new_tokens=50))
    next(abandoned)
    del abandoned
    gc.collect()
    assert same(before, session.score(LABELS))


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([[1] * 129], "needs 129 positions, the context has 128"),
        ([[1, 776]], "token 776 is outside the vocabulary of 776"),
        ([[1, -1]], "token -1"),
        ([np.zeros((2, 255), np.float32)], r"\[2, 255\], the model reads \[M, 256\]"),
        ([np.full((2, 256), np.nan, np.float32)], "not finite"),
        ([], "empty"),
    ],
)
def test_prompts_that_cannot_be_read(
    session: LlamaSession, prompt: list[Chunk], chunks: list[Chunk], message: str
) -> None:
    session.prefill(prompt)
    before = session.score(LABELS)
    with pytest.raises(InputError, match=message):
        session.prefill(chunks)
    assert same(before, session.score(LABELS))


def test_branches_and_answers_that_do_not_fit(session: LlamaSession) -> None:
    session.prefill([[1] * 128])
    with pytest.raises(InputError, match="needs 129 positions"):
        session.score([[300]])
    with pytest.raises(InputError, match="needs 129 positions"):
        session.generate(Sampling(max_new_tokens=2))
    session.prefill([[1] * 126])
    short, long = (list(session.generate(Sampling(max_new_tokens=count))) for count in (2, 200))
    assert long == short, "an answer ends with the context"
    session.prefill([[1] * 120])
    assert [len(part) for part in session.score([[300] * 8] * 70)] == [8] * 70
    with pytest.raises(InputError, match="token 9999"):
        session.score([[9999]])


def test_texts_are_tokenised_as_sentencepiece_does(
    session: LlamaSession, tokenizer_directory: Path, texts: list[str]
) -> None:
    pieces = LanguageTokenizer(tokenizer_directory)
    assert {text: session.tokenize(text) for text in texts} == {text: pieces.encode(text) for text in texts}
    with pytest.raises(InputError, match="not valid Unicode at character 1"):
        session.tokenize("a\ud800")
    assert session.begin_token == 1


def test_a_text_is_tokenised_once_and_its_tokens_are_the_callers(
    session: LlamaSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = session.tokenize("the same question of the next frame")
    kept = list(first)
    first.clear()
    monkeypatch.setattr(session._native, "llama_tokenize", lambda *_: pytest.fail("tokenised again"))
    assert session.tokenize("the same question of the next frame") == kept


def test_a_closed_session_says_so(files: dict[str, Path], prompt: list[Chunk]) -> None:
    session = LlamaSession(files["f16"], context_size=64, threads=1)
    session.prefill(prompt)
    answer = session.generate(Sampling(max_new_tokens=9))
    next(answer)
    session.close()
    session.close()
    calls: list[Callable[[], Any]] = [
        lambda: session.prefill(prompt),
        lambda: session.score(LABELS),
        lambda: session.generate(Sampling()),
        lambda: session.tokenize("a"),
        lambda: session.begin_token,
        lambda: next(answer),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="session is closed"):
            call()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"context_size": 161}, InputError, "trained for 160 positions, not for 161"),
        ({"context_size": 0}, InputError, "context_size 0"),
        ({"context_size": 64, "max_branches": 0}, InputError, "max_branches 0"),
    ],
)
def test_sizes_the_model_has_not(
    files: dict[str, Path], options: dict[str, int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        LlamaSession(files["f16"], **options)  # type: ignore[arg-type]


def test_a_gpu_that_the_build_cannot_use(files: dict[str, Path]) -> None:
    from llama_cpp import llama_cpp

    if llama_cpp.llama_supports_gpu_offload():
        pytest.skip("waits for a machine whose llama.cpp has no GPU backend")
    with pytest.raises(DeviceError, match="no GPU backend"):
        LlamaSession(files["f16"], context_size=64, gpu_layers=-1)


@pytest.mark.parametrize("size", [0, 3, 100, 9000, 200_000])
def test_truncated_files_are_an_error(files: dict[str, Path], tmp_path: Path, size: int) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(files["f16"].read_bytes()[:size])
    with pytest.raises(CheckpointError, match=r"cut\.gguf: llama\.cpp cannot read it"):
        LlamaSession(path, context_size=64)
    with pytest.raises(CheckpointError, match="no such file"):
        LlamaSession(tmp_path / "absent.gguf", context_size=64)


OUT_OF_MEMORY = """
import resource, sys
from pathlib import Path
from emo_edge.errors import DeviceError
from emo_edge.runtimes.llama_cpp.session import LlamaSession
LlamaSession(Path(sys.argv[1]), context_size=64, threads=1).close()
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = used + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    LlamaSession(Path(sys.argv[1]), context_size=2**18, threads=1, exact_cache=True)
except DeviceError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="waits for Linux's limit of the address space")
@pytest.mark.parametrize(
    ("room", "message"),
    [
        (2**27, "llama.cpp's context of 262272 positions: not enough memory"),
        (2**29, "no memory for a context of 262272 positions"),
    ],
)
def test_too_little_memory_is_a_device_error(
    config: LanguageConfig, language: Any, write: Callable[..., Path], room: int, message: str
) -> None:
    path = write(language, "f16", config.model_copy(update={"max_position_embeddings": 2**18}))
    command = [sys.executable, "-c", OUT_OF_MEMORY, str(path), str(room)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert message in done.stdout, done


def test_the_engine_is_silent(files: dict[str, Path], prompt: list[Chunk], capfd: pytest.CaptureFixture[str]) -> None:
    with LlamaSession(files["q8_0"], context_size=64, threads=1) as session:
        session.prefill(prompt)
        session.score(LABELS)
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache_directory() / ANSWERS_NAME


def child(code: str) -> list[str]:
    return [sys.executable, "-c", f"import os, signal\n{code}"]


CRASH = child("os.kill(os.getpid(), signal.SIGSEGV)")
NEVER_RUN = ["/nowhere/at/all"]


def test_a_crash_on_matrix_units_is_found_once_and_remembered(
    files: dict[str, Path], cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for command in (CRASH, NEVER_RUN):
        _warn_of_amx.cache_clear()  # as in another process
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert not fast_path_is_safe(files["q8_0"], information=AMX, command=command)
        assert 'CXXFLAGS="-fno-tree-dse -fno-dse -frecord-gcc-switches"' in caplog.text
        assert cache.is_file()
    caplog.clear()
    assert not fast_path_is_safe(files["q8_0"], information=AMX, command=NEVER_RUN)
    assert not caplog.records, "once a process"


def test_the_child_computes_the_real_file(files: dict[str, Path], cache: Path) -> None:
    safe = fast_path_is_safe(files["q8_0"], information=AMX)
    # A build of gcc 12 on a processor with AMX is what the child is for: there it may crash.
    assert safe or "AMX_INT8 = 1" in library().llama_print_system_info().decode()
    assert fast_path_is_safe(files["q8_0"], information=AMX, command=NEVER_RUN) is safe
    other_machine = AMX + "AMX_BF16 = 1"
    assert not fast_path_is_safe(files["q8_0"], information=other_machine, command=CRASH)


@pytest.mark.parametrize("command", [NEVER_RUN, child("raise SystemExit(1)"), child("os.kill(os.getpid(), 9)")])
def test_a_child_that_proves_nothing_is_not_remembered(files: dict[str, Path], cache: Path, command: list[str]) -> None:
    assert not fast_path_is_safe(files["q8_0"], information=AMX, command=command)
    assert not cache.exists()
    assert fast_path_is_safe(files["q8_0"], information=AMX, command=child(""))


def test_no_child_runs_without_matrix_units_or_quantized_weights(files: dict[str, Path], cache: Path) -> None:
    assert fast_path_is_safe(files["q8_0"], information="CPU : AVX512 = 1 | ", command=CRASH)
    assert fast_path_is_safe(files["f16"], information=AMX, command=CRASH)
    assert fast_path_is_safe(files["f32"], information=AMX, command=CRASH)
    assert not cache.exists()


def test_the_types_of_the_tensors_count_and_not_that_of_the_file(files: dict[str, Path], cache: Path) -> None:
    """Calibration tries files of one type whose matrices are in others; what one of them proved says nothing more."""
    matrices = [name for name, tensor in read_gguf_header(files["q8_0"]).tensors.items() if tensor.type == 8]
    plain, mixed = (files["q8_0"].with_name(f"{name}.gguf") for name in ("plain", "mixed"))
    unquantized = dict.fromkeys(matrices, "f16")
    quantize_gguf(files["f16"], plain, "q8_0", types=unquantized)
    quantize_gguf(files["f16"], mixed, "q8_0", types=unquantized | {matrices[-1]: "q5_0"})
    assert fast_path_is_safe(plain, information=AMX, command=CRASH)
    assert fast_path_is_safe(files["q8_0"], information=AMX, command=child(""))
    assert not fast_path_is_safe(mixed, information=AMX, command=CRASH)
