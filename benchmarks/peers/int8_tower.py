"""INT8 of the image tower at its true size: ``python -m emo_edge.benchmarks.peers.int8_tower CHECKPOINT BUNDLE``.

Ranges come from drawings of one seed, distances from the float32 graph on drawings of another. The weights may be
random: then sizes, memory and times are real, and no gate of accuracy says anything, so that none is held. The bundle
that is written has one profile more, ``int8``, for `emo_edge.benchmarks.peers` to time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

from emo_edge.benchmarks.emo_tiny.samples import CALIBRATION_SEED, HELD_OUT_SEED, synthetic_samples
from emo_edge.benchmarks.measure.cold_start_worker import peak_rss
from emo_edge.bundle.manifest import Manifest, Variant
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.writer import BundleWriter
from emo_edge.calibration.int8.clipping_thresholds import METHODS
from emo_edge.calibration.int8.component import centred
from emo_edge.calibration.int8.graph_files import data_files, load_graph, stored_bytes
from emo_edge.calibration.int8.qdq_graph import int8_from_float
from emo_edge.calibration.int8.ranges import ActivationRanges, gather_ranges
from emo_edge.calibration.int8.sensitivity import BlockCost, Trials, block_costs
from emo_edge.calibration.workflow.assemble import link_file
from emo_edge.calibration.workflow.gated_profile import INT8
from emo_edge.console.commands import EdgeCommand
from emo_edge.errors import InputError
from emo_edge.export.bundles.origin import require_origin
from emo_edge.export.onnx.export import in_precision, onnx_from_component
from emo_edge.export.onnx.graph_file import save_graph
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.machine.summary import describe_machine
from emo_edge.tensors import Tensor
from emo_edge.utils.files import write_json

NOTE = "no gate was held: written to measure time"
SHOWN = 5
"""Most sensitive blocks of the table."""


@dataclass(frozen=True)
class Method:
    """Every matmul in INT8, with ranges by one method, against the float32 graph."""

    name: str
    cosine: float
    """Smallest of any drawing."""
    centred_cosine: float


@dataclass(frozen=True)
class Study:
    """Figures of the written graph, and the time and memory of each step."""

    methods: tuple[Method, ...]
    """The closest first; the first was written."""
    blocks: tuple[BlockCost, ...]
    """The most sensitive first."""
    seconds: Mapping[str, float]
    """By step."""
    bytes_before: int
    """Of the float32 graph."""
    bytes_after: int
    peak_memory: int | None
    """Bytes of this process at their highest, the files it has mapped among them; None where that is not known."""


class Steps:
    """Times of the steps, by name."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self.seconds: dict[str, float] = {}
        self._report, self._started = report, time.perf_counter()

    def done(self, name: str) -> None:
        """Note that a step ended."""
        now = time.perf_counter()
        self.seconds[name] = round(now - self._started, 1)
        self._report(f"{name}: {self.seconds[name]:.0f} s")
        self._started = now


def crops(model: EmoLlamaForConditionalGeneration, count: int, seed: int) -> Iterator[Mapping[str, Tensor]]:
    """Yield the tower's input of each of ``count`` drawings, uint8 [1, H, W, 3]."""
    for sample in synthetic_samples(count, seed):
        vision, _ = model.crops(sample.image, sample.box)
        yield {"image": np.stack([vision.pixels])}


def int8_tower(
    checkpoint: Path, target: Path, work: Path, counts: Mapping[str, int], report: Callable[[str], None]
) -> Study:
    """Write the INT8 form of a checkpoint's image tower to ``target``, its float32 form to ``work``.

    Args:
        checkpoint: of an EMO-LLaMA.
        target: ``NAME.onnx``, not there yet; its weights go to a file beside it.
        work: a folder.
        counts: drawings for "ranges", "measured" and "blocks"; no blocks are measured where that is 0.
        report: gets a line a step.
    """
    steps = Steps(report)
    model = EmoLlamaForConditionalGeneration.from_pretrained(checkpoint, stream=True)
    source = work / "vision-fp32.onnx"
    if not source.is_file():
        save_graph(in_precision(onnx_from_component(model, "vision"), "fp32"), source)
    steps.done("export in float32")
    ranges = gather_ranges(source, crops(model, counts["ranges"], CALIBRATION_SEED))
    steps.done("ranges")
    feeds = list(crops(model, counts["measured"], HELD_OUT_SEED))
    trials = Trials(source, ranges.thresholds("mse"), feeds, lambda outputs: 1.0)
    methods = _methods(trials, ranges)
    steps.done("methods")
    chosen = ranges.thresholds(methods[0].name)
    blocks: Sequence[BlockCost] = ()
    if counts["blocks"]:
        few = Trials(source, chosen, feeds[: counts["blocks"]], lambda outputs: 1.0)
        blocks = block_costs(few, ranges.peaks())
        steps.done("blocks")
    int8_from_float(source, target, chosen)
    steps.done("write")
    sizes = stored_bytes(source), stored_bytes(target)
    return Study(tuple(methods), tuple(blocks), steps.seconds, *sizes, peak_rss())


def _methods(trials: Trials, ranges: ActivationRanges) -> list[Method]:
    methods = []
    for name in METHODS:
        outputs = trials.using(ranges.thresholds(name)).outputs(())
        methods.append(Method(name, trials.measured(outputs).cosine, centred(trials.reference, outputs)))
    return sorted(methods, key=lambda method: -method.centred_cosine)


def with_int8_tower(bundle: Path, checkpoint: Path, out: Path, study: Callable[[Path], Study]) -> Study:
    """Write a bundle of the same files and of a profile ``int8``, whose tower ``study`` writes to the path it gets.

    Raises InputError for a bundle without an image tower, or of another checkpoint.
    """
    old = Bundle.open(bundle)
    tower = old.manifest.components.vision
    if tower is None or tower.kind != "onnx":
        raise InputError(f"{bundle}: has no image tower as an ONNX graph")
    require_origin(old, checkpoint)
    with BundleWriter(out) as writer:
        target = writer.path(f"vision-{INT8}.onnx")
        written = study(target)
        files = tuple(writer.entry(file) for file in (target, *data_files(load_graph(target), target.parent)))
        evidence = {"int8": {"cosine": written.methods[0].cosine, "centred_cosine": written.methods[0].centred_cosine}}
        for file in old.manifest.files():
            link_file(old.directory / file.path, writer.path(file.path))
        writer.finish(_manifest(old, Variant(files=files, evidence=evidence)))
    return written


def _manifest(old: Bundle, int8: Variant) -> Manifest:
    """Return the manifest with the new variant, and with a profile of it that is like the default one else."""
    manifest = old.manifest
    tower = manifest.components.vision
    assert tower is not None  # `with_int8_tower` has looked
    vision = tower.model_copy(update={"variants": {**tower.variants, INT8: int8}})
    like = manifest.profiles[manifest.default_profile].model_copy(update={"vision": INT8, "evidence": {}})
    update = {
        "components": manifest.components.model_copy(update={"vision": vision}),
        "profiles": {**manifest.profiles, INT8: like},
        "provenance": {**manifest.provenance, "int8": NOTE},
    }
    return Manifest.model_validate(manifest.model_copy(update=update).model_dump())


def table(study: Study) -> str:
    """Write the figures as Markdown."""
    lines = ["| ranges | smallest cosine | smallest centred cosine |", "|---|---|---|"]
    lines += [f"| {one.name} | {one.cosine:.5f} | {one.centred_cosine:.5f} |" for one in study.methods]
    if study.blocks:
        lines += ["", "| block alone in INT8 | cosine | largest activation |", "|---|---|---|"]
        lines += [f"| {one.block} | {one.measured.cosine:.6f} | {one.peak:.3g} |" for one in study.blocks[:SHOWN]]
    steps = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in study.seconds.items())
    memory = "" if study.peak_memory is None else f"; at most {study.peak_memory / 1e9:.1f} GB of memory"
    sizes = f"{study.bytes_before / 1e9:.2f} GB in float32, {study.bytes_after / 1e9:.2f} GB in INT8"
    return "\n".join([*lines, "", f"{sizes}; {steps}{memory}."])


@click.command(cls=EdgeCommand)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Bundle to write, with a profile int8.")
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Keeps the float32 graph; 4 GB at 7B.")
@click.option("--ranges", default=16, show_default=True, type=click.IntRange(16), help="Drawings for the ranges.")
@click.option("--measured", default=4, show_default=True, type=click.IntRange(2), help="Other drawings, to measure on.")
@click.option("--sensitivity", default=1, show_default=True, type=click.IntRange(0), help="Drawings a block; 0: none.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures there, too.")
def main(
    checkpoint: Path,
    bundle: Path,
    out: Path,
    work: Path,
    ranges: int,
    measured: int,
    sensitivity: int,
    json_path: Path | None,
) -> None:
    """Write the image tower of CHECKPOINT in INT8, and BUNDLE with it to --out."""
    work.mkdir(parents=True, exist_ok=True)
    counts = {"ranges": ranges, "measured": measured, "blocks": sensitivity}

    def study(target: Path) -> Study:
        return int8_tower(checkpoint, target, work, counts, lambda line: click.echo(line, err=True))

    written = with_int8_tower(bundle, checkpoint, out, study)
    click.echo(table(written))
    click.echo(
        f"\nRanges of {ranges} synthetic drawings, seed {CALIBRATION_SEED}; distances from float32 on {measured} of "
        f"seed {HELD_OUT_SEED}, blocks on {sensitivity}. {Bundle.open(out).manifest.name}; {describe_machine()}"
    )
    if json_path:
        write_json(json_path, {"machine": describe_machine(), **asdict(written)})


if __name__ == "__main__":
    main()
