"""Repacking is measured once, on the real file, and a session follows what was found."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from emo_edge.errors import CheckpointError, DeviceError
from emo_edge.planning.probes.language import LanguageProbe
from emo_edge.runtimes.llama_cpp import library, measured_choices
from emo_edge.runtimes.llama_cpp import session as llama
from emo_edge.runtimes.llama_cpp.library import fast_path_is_safe
from emo_edge.runtimes.llama_cpp.measured_choices import (
    ANSWERS_NAME,
    WHOLE,
    WHOLE_OR_CACHED,
    Ways,
    prompt_seconds,
    repacking_pays,
)
from emo_edge.runtimes.llama_cpp.session import LlamaSession

Q4_K_M, F16 = 15, 1
POINTERS = ctypes.POINTER(ctypes.c_void_p)
Measure = Callable[[Path, bool, int, Ways], float]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return LanguageProbe(256, 512, 2, Q4_K_M).write(tmp_path_factory.mktemp("repack") / "small.gguf")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(measured_choices, "MEASURED_FROM", 0)
    return tmp_path / "emo-edge" / ANSWERS_NAME


def takes(plain: float, repacked: float) -> Measure:
    return lambda path, extra, threads, ways: repacked if extra else plain


def never(path: Path, extra: bool, threads: int, ways: Ways) -> float:
    pytest.fail("measured")


@pytest.mark.parametrize(("plain", "repacked", "pays"), [(0.7, 1.0, False), (0.97, 1.0, True), (1.4, 1.0, True)])
def test_the_faster_way_is_remembered(file: Path, plain: float, repacked: float, pays: bool) -> None:
    assert repacking_pays(file, 1, measure=takes(plain, repacked)) is pays
    assert repacking_pays(file, 1, measure=never) is pays


def test_another_width_is_measured_by_itself(file: Path, tmp_path: Path) -> None:
    other = LanguageProbe(512, 512, 1, Q4_K_M).write(tmp_path / "wide.gguf")
    assert not repacking_pays(file, 1, measure=takes(0.7, 1.0))
    assert repacking_pays(other, 1, measure=takes(1.4, 1.0))


def test_cached_questions_are_measured_by_themselves(file: Path) -> None:
    asked: list[Ways] = []

    def measure(path: Path, extra: bool, threads: int, ways: Ways) -> float:
        asked.append(ways)
        return 1.0 if extra == (ways == WHOLE_OR_CACHED) else 2.0

    assert not repacking_pays(file, 1, measure=measure)
    assert repacking_pays(file, 1, WHOLE_OR_CACHED, measure)
    assert asked == [WHOLE, WHOLE, WHOLE_OR_CACHED, WHOLE_OR_CACHED]
    assert not repacking_pays(file, 1, measure=never) and repacking_pays(file, 1, WHOLE_OR_CACHED, never)


def test_the_fastest_way_counts(file: Path) -> None:
    short, long = (prompt_seconds(file, False, 1, ways) for ways in (((1,), (61,)), ((61, 61, 61),)))
    assert short < long


def test_small_and_unquantized_files_are_not_measured(
    file: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert repacking_pays(LanguageProbe(256, 512, 1, F16).write(tmp_path / "f16.gguf"), 1, measure=never)
    monkeypatch.setattr(measured_choices, "MEASURED_FROM", file.stat().st_size + 1)
    assert repacking_pays(file, 1, measure=never)
    assert not cache.exists()


def test_a_broken_answer_is_measured_again(file: Path, cache: Path) -> None:
    assert not repacking_pays(file, 1, measure=takes(0.7, 1.0))
    cache.write_text("{")
    assert repacking_pays(file, 1, measure=takes(1.4, 1.0))


def test_where_repacked_weights_do_not_fit_plain_ones_are_read_and_asked_again_next_time(
    file: Path, cache: Path
) -> None:
    def short(path: Path, extra: bool, threads: int, ways: Ways) -> float:
        if extra:
            raise DeviceError("not enough memory for the model")
        return 1.0

    assert not repacking_pays(file, 1, measure=short)
    assert not cache.exists()
    assert repacking_pays(file, 1, measure=takes(1.4, 1.0))


def test_a_real_prompt_is_timed_both_ways(file: Path) -> None:
    assert 0 < prompt_seconds(file, False, 1) < 10
    if not fast_path_is_safe(file):
        pytest.skip("repacked weights end the process on this machine")
    assert 0 < prompt_seconds(file, True, 1) < 10
    assert isinstance(repacking_pays(file, 1), bool)


def test_a_file_that_is_not_there_or_no_model_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        LlamaSession(tmp_path / "absent.gguf", context_size=64)
    (tmp_path / "cut.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(CheckpointError, match=r"cut\.gguf"):
        LlamaSession(tmp_path / "cut.gguf", context_size=64)


def test_a_session_follows_the_answer(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[bool] = []
    load = llama.load_model

    def watched(path: Path, **options: Any) -> Any:
        opened.append(options["extra_buffers"])
        return load(path, **options)

    monkeypatch.setattr(llama, "load_model", watched)
    scores = []
    for pays in (True, False):
        monkeypatch.setattr(llama, "repacking_pays", lambda path, threads, ways, pays=pays: pays)
        with LlamaSession(file, context_size=64, threads=1) as session:
            session.prefill([list(range(300, 340))])
            scores.append(session.score([[300], [301]]))
    assert opened == [fast_path_is_safe(file), False]
    assert np.allclose(scores[0], scores[1], atol=0.05), "other kernels, the same numbers but for rounding"


def test_a_session_reads_plain_weights_where_repacked_ones_do_not_fit(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[bool] = []

    def load_model(path: Path, *, gpu_layers: int = 0, extra_buffers: bool = True) -> Any:
        asked.append(extra_buffers)
        if extra_buffers:
            raise DeviceError("not enough memory for the model")
        return real(path, extra_buffers=False)

    real = llama.load_model
    monkeypatch.setattr(llama, "load_model", load_model)
    monkeypatch.setattr(llama, "repacking_pays", lambda *_: True)
    # No repacked weights are ever computed with here, whatever this build does with them.
    monkeypatch.setattr(llama, "fast_path_is_safe", lambda _: True)
    with LlamaSession(file, context_size=64, threads=1) as session:
        session.prefill([[1, 2, 3]])
    assert asked == [True, False]
    assert "weights are not repacked" in caplog.text


@pytest.mark.parametrize("gpu_layers", [0, -1])
def test_a_model_for_the_cpu_is_given_no_card(gpu_layers: int, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native = library.library()
    given: list[bool] = []

    def load(path: bytes, parameters: Any) -> Any:
        given.append(bool(parameters.devices) and ctypes.cast(parameters.devices, POINTERS)[0] is None)
        return object()

    fake = SimpleNamespace(
        llama_model_default_params=native.llama_model_default_params, llama_model_load_from_file=load
    )
    monkeypatch.setattr(library, "library", lambda: fake)
    library.load_model(file, gpu_layers=gpu_layers)
    assert given == [gpu_layers == 0]
