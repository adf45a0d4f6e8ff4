"""``python -m emo_edge.benchmarks.hostile KIND --seed S --count N``: exit code 1 where a file broke its reader."""

from __future__ import annotations

import importlib
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from emo_edge.benchmarks.hostile.trials import Kind, run_campaign
from emo_edge.machine.summary import describe_machine

KINDS = {
    "adapter": "emo_edge.benchmarks.hostile.checkpoints.weights:ADAPTER",
    "avif": "emo_edge.benchmarks.hostile.pictures:AVIF",
    "bmp": "emo_edge.benchmarks.hostile.pictures:BMP",
    "config": "emo_edge.benchmarks.hostile.checkpoints.configs:CONFIG",
    "engine-notes": "emo_edge.benchmarks.hostile.seals:NOTES",
    "engine-plan": "emo_edge.benchmarks.hostile.seals:PLAN_FILE",
    "engine-seal": "emo_edge.benchmarks.hostile.seals:SEAL",
    "face-config": "emo_edge.benchmarks.hostile.checkpoints.configs:FACE_CONFIG",
    "foreign-gguf": "emo_edge.benchmarks.hostile.vlms:FOREIGN_GGUF",
    "gguf": "emo_edge.benchmarks.hostile.language_models:GGUF",
    "gguf-engine": "emo_edge.benchmarks.hostile.language_models:GGUF_ENGINE",
    "gif": "emo_edge.benchmarks.hostile.pictures:GIF",
    "graph": "emo_edge.benchmarks.hostile.graphs:GRAPH",
    "hdf5": "emo_edge.benchmarks.hostile.checkpoints.hdf5:HDF5",
    "heic": "emo_edge.benchmarks.hostile.pictures:HEIC",
    "imatrix": "emo_edge.benchmarks.hostile.statistics:IMATRIX",
    "index": "emo_edge.benchmarks.hostile.checkpoints.weights:INDEX",
    "journal": "emo_edge.benchmarks.hostile.journals:JOURNAL",
    "jpeg": "emo_edge.benchmarks.hostile.pictures:JPEG",
    "label-part": "emo_edge.benchmarks.hostile.tables.runs:LABEL_PART",
    "label-run": "emo_edge.benchmarks.hostile.tables.runs:LABEL_RUN",
    "language-tokenizer": "emo_edge.benchmarks.hostile.checkpoints.tokenizers:LANGUAGE",
    "llava-config": "emo_edge.benchmarks.hostile.checkpoints.llava:LLAVA_CONFIG",
    "llava-settings": "emo_edge.benchmarks.hostile.checkpoints.llava:LLAVA_SETTINGS",
    "llava-tokenizer": "emo_edge.benchmarks.hostile.checkpoints.llava:LLAVA_TOKENIZER",
    "manifest": "emo_edge.benchmarks.hostile.manifests:MANIFEST",
    "mmproj": "emo_edge.benchmarks.hostile.vlms:MMPROJ",
    "mmproj-engine": "emo_edge.benchmarks.hostile.vlms:MMPROJ_ENGINE",
    "png": "emo_edge.benchmarks.hostile.pictures:PNG",
    "question-tokenizer": "emo_edge.benchmarks.hostile.checkpoints.tokenizers:QUESTION",
    "qwen2-tokenizer": "emo_edge.benchmarks.hostile.checkpoints.llava:QWEN2_TOKENIZER",
    "ranges": "emo_edge.benchmarks.hostile.statistics:RANGES",
    "record": "emo_edge.benchmarks.hostile.kept_state:RECORD",
    "safetensors": "emo_edge.benchmarks.hostile.checkpoints.weights:SAFETENSORS",
    "sample-csv": "emo_edge.benchmarks.hostile.lists:SAMPLE_CSV",
    "sample-jsonl": "emo_edge.benchmarks.hostile.lists:SAMPLE_JSONL",
    "shard-parquet": "emo_edge.benchmarks.hostile.tables.shards:PARQUET",
    "shard-tar": "emo_edge.benchmarks.hostile.tables.shards:TAR",
    "tiff": "emo_edge.benchmarks.hostile.pictures:TIFF",
    "torch": "emo_edge.benchmarks.hostile.checkpoints.weights:TORCH",
    "track-record": "emo_edge.benchmarks.hostile.tables.runs:TRACK_RECORD",
    "user-graph": "emo_edge.benchmarks.hostile.checkpoints.user_graph:USER_GRAPH",
    "verified": "emo_edge.benchmarks.hostile.kept_state:VERIFIED",
    "video": "emo_edge.benchmarks.hostile.films:VIDEO",
    "webp": "emo_edge.benchmarks.hostile.pictures:WEBP",
}
"""Module and name of each kind."""
MIB = 1 << 20
DECODERS = ("av", "h5py", "llama-cpp-python", "onnxruntime", "pillow", "pillow-heif", "pydantic", "safetensors")
"""Packages that read the files; their versions are printed."""
SHOWN = 20
"""Failures that are printed; all are kept."""


def kind_of(name: str) -> Kind:
    """Load a kind by its name."""
    module, _, attribute = KINDS[name].partition(":")
    kind: Kind = getattr(importlib.import_module(module), attribute)
    return kind


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="KIND...", type=click.Choice([*KINDS, "all"]))
@click.option("--seed", default=0, show_default=True, help="Seed of the mutations.")
@click.option("--count", default=1000, show_default=True, type=click.IntRange(1), help="Number of files of each kind.")
@click.option(
    "--keep", type=click.Path(path_type=Path), default=Path("hostile"), show_default=True, help="For failures."
)
def main(names: tuple[str, ...], seed: int, count: int, keep: Path) -> None:
    """Read mutated files of each KIND, and count those that are read, refused, or break their reader."""
    failed = False
    for name in KINDS if "all" in names else dict.fromkeys(names):
        start = time.monotonic()
        outcome = run_campaign(kind_of(name), seed, count, keep / name)
        failed |= bool(outcome.failures)
        click.echo(
            f"{name}: seed {seed}, {count} files, {outcome.read} read, {outcome.refused} refused, "
            f"{len(outcome.failures)} failures; at most {outcome.slowest_s:.2f} s of CPU and "
            f"{outcome.added_bytes / MIB:.0f} MiB more a file, {outcome.peak_bytes / MIB:.0f} MiB in all; "
            f"{time.monotonic() - start:.0f} s"
        )
        for failure in outcome.failures[:SHOWN]:
            click.echo(f"  {failure.number}: {failure.problem}")
    click.echo(f"{describe_machine()}, {', '.join(f'{name} {_version(name)}' for name in DECODERS)}")
    raise SystemExit(int(failed))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


if __name__ == "__main__":
    main()
