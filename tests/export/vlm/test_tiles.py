"""Models that cut a picture into tiles: counted before anything is computed, read as counted, refused if too many."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emo_edge.benchmarks.random_vlm.converter import SOURCE_VARIABLE, convert_random_vlm
from emo_edge.benchmarks.random_vlm.differences import gguf_differences
from emo_edge.benchmarks.random_vlm.families import random_vlm
from emo_edge.benchmarks.random_vlm.files import RandomVlm, write_random_vlm
from emo_edge.bundle.checks.any_gguf import check_mmproj_gguf
from emo_edge.bundle.prompts import classify_question
from emo_edge.errors import BundleError, InputError
from emo_edge.export.vlm.bundle import bundle_from_gguf
from emo_edge.export.vlm.config import VlmConfig, VlmFiles
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request
from emo_edge.media.crops import square_crop
from emo_edge.runtimes.base.sessions import PictureRows
from emo_edge.runtimes.llama_cpp.admitted import admit
from emo_edge.runtimes.llama_cpp.session import LlamaSession
from emo_edge.runtimes.mtmd.encoder import MtmdEncoder

SOURCE = os.environ.get(SOURCE_VARIABLE)
LABELS = ("anger", "fear", "happiness")
Tiled = tuple[str, RandomVlm, Path, Path]


def tiled_vlm(family: str) -> tuple[RandomVlm, int, int]:
    """Return a model that cuts a picture of a size into four tiles beside the whole, and the rows of each."""
    if family == "llava-next":
        return replace(random_vlm("llava"), pinpoints=((56, 112), (112, 56), (112, 112))), 112, 16
    vlm = random_vlm(family)
    if family == "smolvlm":  # an Idefics3 enlarges every picture to its own size
        size = {"preproc_image_size": 2 * vlm.side}
        return replace(vlm, vision={**vlm.vision, **size}, preprocessor={"size": {"longest_edge": 128}}), vlm.side, 4
    return vlm, 2 * vlm.side, 4


@pytest.fixture(scope="module", params=["smolvlm", "internvl", "llava-next"])
def tiled(request: pytest.FixtureRequest, made_once: Callable[..., Path]) -> Tiled:
    vlm, _, _ = tiled_vlm(request.param)

    def write(folder: Path) -> None:
        folder.mkdir()
        write_random_vlm(vlm, folder / "model.gguf", folder / "mmproj.gguf")

    folder = made_once(f"tiled-{request.param}", write)
    return request.param, vlm, folder / "model.gguf", folder / "mmproj.gguf"


def test_tiles_are_counted_at_import_and_read_as_counted(tiled: Tiled, tmp_path: Path) -> None:
    """From a huge picture on: every tile's rows are in the prompt, and the probabilities those read by hand."""
    family, _, model, mmproj = tiled
    _, size, rows = tiled_vlm(family)
    config = VlmConfig(picture_size=size, detector="whole", margin=0.0)
    bundle = bundle_from_gguf(VlmFiles(model, mmproj), tmp_path / "b", config)
    counted = bundle.manifest.frames_segment.tokens_per_frame
    huge = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8)
    with EmotionPipeline.open(bundle, device="cpu", threads=1, detector=WholeImage()) as pipeline:
        found = pipeline.read(huge, Request(labels=LABELS))[0].probabilities
    crop = square_crop(huge, None, margin=0.0, size=size, fill=(0.5, 0.5, 0.5)).pixels
    admit(model)
    with (
        LlamaSession(model, context_size=512, exact_cache=True, threads=1) as language,
        MtmdEncoder(mmproj, language, threads=1, exact=True) as encoder,
    ):
        assert encoder.positions(crop) == counted
        picture = encoder.encode(crop)
        tiles = [chunk for chunk in picture if isinstance(chunk, PictureRows)]
        assert sum(len(tile.embeddings) for tile in tiles) == 5 * rows and sum(map(len, picture)) == counted
        before, _, after = bundle.manifest.prompt.template.partition("<image>")
        question = classify_question(bundle.manifest.prompt, LABELS)
        after = after.replace("{demographics}{question}", question)
        begin = [] if family == "internvl" else [language.begin_token]
        first = [*begin, *language.tokenize(before, control=True)]
        context = language.tokenize(after, control=True)
        scores = []
        for label in LABELS:
            space = "" if after.endswith("\n") else " "
            answer = language.tokenize(after + space + label, control=True)[len(context) :]
            total = 0.0
            for index, token in enumerate(answer):
                language.prefill([first, *picture, [*context, *answer[:index]]])
                total += float(language.score([[token]])[0][0])
            scores.append(total)
    expected = np.exp(scores - np.logaddexp.reduce(scores))
    np.testing.assert_allclose(list(found.values()), expected, atol=1e-4)


def test_a_context_too_small_for_the_tiles_is_one_error_before_anything_is_computed(
    tiled: Tiled, tmp_path: Path
) -> None:
    family, _, model, mmproj = tiled
    _, size, rows = tiled_vlm(family)
    files, small = VlmFiles(model, mmproj), VlmConfig(picture_size=size, context=5 * rows)
    with pytest.raises(
        BundleError, match=r"a picture of \d+ positions, .* need \d+, the context has \d+: choose a larger"
    ):
        bundle_from_gguf(files, tmp_path / "small", small)
    assert not (tmp_path / "small").exists()
    bundle = bundle_from_gguf(files, tmp_path / "b", replace(small, context=512))
    with EmotionPipeline.open(bundle, device="cpu", context=5 * rows) as pipeline:
        with pytest.raises(
            InputError, match=r"a picture needs \d+ positions, the context has \d+: .* a larger `context`"
        ):
            pipeline.check(Request(labels=LABELS))
        with pytest.raises(InputError, match=r"the context has \d+"):
            pipeline.read(np.zeros((60, 60, 3), np.uint8), Request(labels=LABELS), boxes=[(0, 0, 60, 60)])


@pytest.mark.skipif(not SOURCE, reason=f"waits for a source tree of llama.cpp in {SOURCE_VARIABLE}")
@pytest.mark.slow
def test_the_keys_that_cut_a_picture_are_those_that_llama_cpps_converter_writes(tiled: Tiled, tmp_path: Path) -> None:
    family, vlm, _, mmproj = tiled
    convert_random_vlm(vlm, Path(str(SOURCE)), tmp_path / "work", tmp_path / "model.gguf", tmp_path / "mmproj.gguf")
    odd = gguf_differences(mmproj, tmp_path / "mmproj.gguf")
    # The older script, which writes LLaVA's tower, differs in what has nothing to do with tiles: see test_converter.
    cutting = [line for line in odd if any(word in line for word in ("preproc", "pinpoints", "image_size"))]
    assert cutting == [] and (family == "llava-next" or odd == [])


@pytest.mark.parametrize(
    ("family", "key", "value", "match"),
    [
        ("internvl", "preproc_max_tiles", 2**31 - 2, "preproc_max_tiles: '2147483646'; a whole number up to 256"),
        ("internvl", "preproc_min_tiles", 2**32 - 1, "preproc_min_tiles: '4294967295'; a whole number up to 256"),
        ("smolvlm", "preproc_image_size", 2**31 - 1, "preproc_image_size: '2147483647'; a whole number up to 8192"),
    ],
)
def test_tiles_that_no_model_has_are_refused_from_the_header(
    family: str, key: str, value: int, match: str, tmp_path: Path
) -> None:
    """libmtmd would list or resize them before anybody could count: minutes, and gigabytes."""
    vlm = random_vlm(family)
    write_random_vlm(replace(vlm, vision={**vlm.vision, key: value}), tmp_path / "m.gguf", tmp_path / "p.gguf")
    with pytest.raises(BundleError, match=match):
        check_mmproj_gguf(tmp_path / "p.gguf")


@pytest.mark.parametrize("size", [(2**30, 56), (0, 56)])
def test_pinpoints_that_no_model_has_are_refused_from_the_header(size: tuple[int, int], tmp_path: Path) -> None:
    vlm = replace(random_vlm("llava"), pinpoints=((112, 112), size))
    write_random_vlm(vlm, tmp_path / "m.gguf", tmp_path / "p.gguf")
    with pytest.raises(BundleError, match="image_grid_pinpoints: 4 numbers; up to 512 from 1 to 8192 are allowed"):
        check_mmproj_gguf(tmp_path / "p.gguf")
