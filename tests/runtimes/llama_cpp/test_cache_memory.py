"""An attention cache that does not fit is an error before llama.cpp fills it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emo_edge.errors import DeviceError
from emo_edge.planning.probes.language import F16, LanguageProbe
from emo_edge.runtimes.llama_cpp.library import library, load_model
from emo_edge.runtimes.llama_cpp.limits import check_cache_memory


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    path: Path = LanguageProbe(64, 64, 2, F16).write(tmp_path_factory.mktemp("limits") / "probe.gguf")
    opened = load_model(path)
    yield opened
    library().llama_model_free(opened)


def test_a_cache_that_no_machine_holds_is_refused(model: Any) -> None:
    # Keys and values of 2 layers and 64 columns at 4 bytes are 1,024 bytes a position.
    with pytest.raises(DeviceError, match=r"no memory for a context of 1099511627776 positions: 1125899\.9 GB"):
        check_cache_memory(library(), model, 1 << 40, 4)


def test_a_small_cache_is_not_asked_about(model: Any) -> None:
    check_cache_memory(library(), model, 1024, 2)
