"""Checkpoint to bundle: every variant is written, opened by its engine, compared, and kept only inside its gate."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from emo_edge import __version__
from emo_edge.bundle import Bundle, BundleWriter
from emo_edge.errors import AccuracyGateError, InputError
from emo_edge.export.bundle_manifest import bundle_manifest
from emo_edge.export.gguf_file import WRITTEN_TYPES, available_file_types, gguf_from_checkpoint, quantize_gguf
from emo_edge.export.model import EmoLlamaForConditionalGeneration
from emo_edge.export.onnx_graphs import PRECISIONS, Graph, half_from_full, onnx_from_component, save_graph
from emo_edge.export.parity import Distances, distances, exact_failures, graph_failures, label_distance
from emo_edge.export.reference import Reference, reference_on
from emo_edge.export.text import QUESTION_MODEL_NAME
from emo_edge.faces import FixedBox, WholeImage
from emo_edge.manifest import Manifest, Profile, Variant
from emo_edge.pipeline import EmotionPipeline
from emo_edge.reading import Request
from emo_edge.runtimes.llama import LlamaSession
from emo_edge.runtimes.onnx import OnnxSession
from emo_edge.samples import Sample
from emo_edge.sessions import LanguageSession, Tensor, TensorSession
from emo_edge.turns import softmax

log = logging.getLogger(__name__)
UNQUANTIZED = ("f32", "bf16", "f16")
PROFILE_OF = {"f32": "exact", "f16": "exact", "q8_0": "balanced", "q4_k_m": "small"}
"""What a profile is called by its language variant; others are called as the variant."""


@dataclass(frozen=True)
class ExportPlan:
    """Which variants to write, and on which labels to compare them."""

    vision: tuple[str, ...] = ("fp32", "fp16")
    face: tuple[str, ...] = ("fp32", "fp16")
    language: tuple[str, ...] = ("f16", "q8_0", "q4_k_m")
    labels: str = "rafdb7"


@dataclass(frozen=True)
class Reports:
    """Where an export tells how far it is."""

    line: Callable[[str], None] = log.info
    """Gets a line for every step done."""
    progress: Callable[[int, int], None] = lambda done, total: None
    """Gets the pictures compared so far and in all."""


QUIET = Reports()


def bundle_from_checkpoint(
    directory: Path,
    target: Path,
    plan: ExportPlan,
    samples: Sequence[Sample],
    *,
    overwrite: bool = False,
    threads: int | None = None,
    reports: Reports = QUIET,
) -> Bundle:
    """Write the bundle of a checkpoint.

    Args:
        directory: the checkpoint.
        target: the bundle; refused if it holds anything, unless ``overwrite``. It appears only when all is done.
        plan: variants and labels.
        samples: pictures to compare on.
        overwrite: replace the target as a whole.
        threads: of the engines that are compared; None leaves it to them.
        reports: told of every step.

    Raises AccuracyGateError, after writing what passed, if a variant missed its gate or the exact profile is not.
    """
    with BundleWriter(target, overwrite=overwrite) as writer:
        model = EmoLlamaForConditionalGeneration.from_pretrained(directory)
        _check_plan(model, plan)
        export = _Export(directory, writer, model, plan, samples, threads, reports)
        for component, precisions in export.graph_plan().items():
            for precision in precisions:
                export.graph(component, precision)
        for file_type in plan.language:
            export.language(file_type)
        bundle = writer.finish(export.manifest())
    reports.line(f"{target}: {len(bundle.manifest.files())} files, emo-edge {__version__}")
    if export.failures:
        raise AccuracyGateError("not everything holds its gate:\n" + export.listing())
    return bundle


class _Export:
    """One export under way: what passed its gate so far, and what did not."""

    def __init__(
        self,
        directory: Path,
        writer: BundleWriter,
        model: EmoLlamaForConditionalGeneration,
        plan: ExportPlan,
        samples: Sequence[Sample],
        threads: int | None,
        reports: Reports,
    ) -> None:
        self.directory, self.writer, self.model, self.plan = directory, writer, model, plan
        self.samples, self.threads, self.report, self.reports = samples, threads, reports.line, reports
        self.compared, started = 0, time.perf_counter()
        self.reference = reference_on(model, samples, model.config.label_sets[plan.labels])
        self._advance(len(samples))
        self.report(f"reference: {len(samples)} pictures, PyTorch {torch.__version__}, {_since(started)}")
        self.full: dict[str, Graph] = {}
        self.graphs: dict[str, Graph] = {}
        self.variants: dict[str, dict[str, Variant]] = {}
        self.failures: list[str] = []

    def graph_plan(self) -> dict[str, tuple[str, ...]]:
        found = {"vision": self.plan.vision, "connector": self.plan.vision}
        return found if self.model.face is None else {**found, "face": self.plan.face}

    def passes(self) -> int:
        """How often the samples are run: by the reference, by every variant, by every profile."""
        return 1 + sum(map(len, self.graph_plan().values())) + 2 * len(self.plan.language)

    def listing(self) -> str:
        return "\n".join(f"  {failure}" for failure in self.failures)

    def graph(self, component: str, precision: str) -> None:
        """Write one precision of one graph, run it on the samples, keep it inside its gate."""
        started, name = time.perf_counter(), f"{component} {precision}"
        graph = self._graph(component, precision)
        paths = save_graph(graph, self.writer.path(f"{component}-{precision}.onnx"))
        truth, feed = self.reference.of(component)
        with OnnxSession(paths[0], graph.inputs, graph.outputs, threads=self.threads) as session:
            measured = distances(truth, run_in_batches(session, feed))
        self._advance(len(self.samples))
        failures = graph_failures(precision, measured)
        self.failures += [f"{name}: {failure}" for failure in failures]
        if failures:
            self.report(f"{name}: misses its gate, left out")
            return
        self.graphs[component] = graph
        size = self._keep(component, precision, paths, measured)
        error = max(row["relative_error"] for row in measured.values())
        cosine = min(row["cosine"] for row in measured.values())
        self.report(f"{name}: {size}, relative error {error:.1e}, cosine {cosine:.7f}, {_since(started)}")

    def language(self, file_type: str) -> None:
        """Write one file type of the language model and score the reference's own prompts with it."""
        started, path = time.perf_counter(), self.writer.path(f"language-{file_type}.gguf")
        if file_type in WRITTEN_TYPES:
            self._gguf(path, file_type)
        else:
            # Quantized from float32: rounding twice would be one more error nobody asked for.
            source = self.writer.path("source-f32.gguf")
            if not source.exists():
                self._gguf(source, "f32")
            quantize_gguf(source, path, file_type)
        context = self.model.config.language.max_position_embeddings
        exact = file_type in UNQUANTIZED
        with LlamaSession(path, context_size=context, exact_cache=exact, threads=self.threads) as session:
            found = softmax(label_scores(session, self.reference))
        self._advance(len(self.samples))
        measured = label_distance(self.reference.probabilities, found)
        failures = exact_failures(measured) if exact else []
        self.failures += [f"language {file_type}: {failure}" for failure in failures]
        if failures:
            self.report(f"language {file_type}: misses its gate, left out")
            return
        size = self._keep("language", file_type, [path], {"labels": measured})
        self.report(f"language {file_type}: {size}, {_agreement(measured)}, {_since(started)}")

    def manifest(self) -> Manifest:
        """Describe what was kept, with every profile's whole chain measured against the reference."""
        tokenizer = self.writer.path(QUESTION_MODEL_NAME)
        tokenizer.write_bytes((self.directory / QUESTION_MODEL_NAME).read_bytes())
        entry, name = self.writer.entry(tokenizer), self.directory.name

        def describe(profiles: Mapping[str, Profile]) -> Manifest:
            return bundle_manifest(self.model.config, self.graphs, self.variants, entry, profiles, name)

        draft = describe(self._profiles())
        # Written a moment ago by this process: there is nothing to verify yet.
        bundle = Bundle(self.writer.partial, draft)
        measured = {name: self._measured(bundle, name, profile) for name, profile in draft.profiles.items()}
        return describe(self._passing(measured))

    def _graph(self, component: str, precision: str) -> Graph:
        """Trace each component once; the other precision is made from the float32 graph."""
        if component not in self.full:
            self.full[component] = onnx_from_component(self.model, component)
        return self.full[component] if precision == "fp32" else half_from_full(self.full[component])

    def _gguf(self, path: Path, file_type: str) -> None:
        gguf_from_checkpoint(
            self.directory, self.model.config.language, path, file_type=file_type, name=self.directory.name
        )

    def _keep(self, component: str, name: str, paths: Sequence[Path], evidence: Distances) -> str:
        files = tuple(self.writer.entry(path) for path in paths)
        self.variants.setdefault(component, {})[name] = Variant(files=files, evidence=evidence)
        return f"{sum(file.size for file in files) / 1e6:.1f} MB"

    def _profiles(self) -> dict[str, Profile]:
        """One profile a language variant; the exact one takes the most precise graphs, the others the smallest."""
        missing = [part for part in (*self.graph_plan(), "language") if not self.variants.get(part)]
        if missing:
            raise AccuracyGateError(
                f"no variant of {', '.join(missing)} holds its gate, nothing is written:\n{self.listing()}"
            )
        profiles = {}
        for language in self.variants["language"]:
            name = PROFILE_OF.get(language, language)
            order = PRECISIONS if name == "exact" else PRECISIONS[::-1]
            chosen = {
                part: next((precision for precision in order if precision in self.variants.get(part, {})), None)
                for part in ("vision", "connector", "face")
            }
            profiles[name] = Profile.model_validate({**chosen, "language": language})
        return profiles

    def _measured(self, bundle: Bundle, name: str, profile: Profile) -> Profile:
        """Run the whole chain of a profile, from picture to probabilities."""
        started, rows = time.perf_counter(), []
        opened = EmotionPipeline.open(bundle, device="cpu", profile=name, detector=WholeImage(), threads=self.threads)
        with opened as pipeline:
            for sample in self.samples:
                pipeline.detector = FixedBox(sample.box) if sample.box else WholeImage()
                reading = pipeline.read(sample.image, Request(labels=self.plan.labels))[0]
                rows.append(list(reading.probabilities.values()))
                self._advance(1)
        milliseconds = 1000 * (time.perf_counter() - started) / len(self.samples)
        measured = label_distance(self.reference.probabilities, np.array(rows))
        self.report(f"profile {name}: {_agreement(measured)}, {milliseconds:.0f} ms a picture")
        return profile.model_copy(update={"evidence": measured})

    def _passing(self, profiles: Mapping[str, Profile]) -> dict[str, Profile]:
        """Leave out an exact profile whose whole chain is not exact."""
        failures = exact_failures(profiles["exact"].evidence) if "exact" in profiles else []
        self.failures += [f"profile exact: {failure}" for failure in failures]
        kept = {name: profile for name, profile in profiles.items() if not (failures and name == "exact")}
        if not kept:
            raise AccuracyGateError(f"no profile holds its gate, nothing is written:\n{self.listing()}")
        return kept

    def _advance(self, count: int) -> None:
        self.compared += count
        self.reports.progress(self.compared, self.passes() * len(self.samples))


def run_in_batches(session: TensorSession, feed: Mapping[str, Tensor], size: int = 8) -> dict[str, Tensor]:
    """Run a graph over N samples, ``size`` at a time."""
    count = len(next(iter(feed.values())))
    parts = [
        session.run({name: value[row : row + size] for name, value in feed.items()}) for row in range(0, count, size)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def label_scores(session: LanguageSession, reference: Reference) -> NDArray[np.float64]:
    """Log-probability of each label after the reference's own embedded prompts: [N, labels]."""
    scores = []
    for prompt in reference.prompts:
        session.prefill([prompt])
        scores.append([float(tokens.sum()) for tokens in session.score(reference.branches)])
    return np.array(scores)


def _check_plan(model: EmoLlamaForConditionalGeneration, plan: ExportPlan) -> None:
    """Refuse what cannot be written before anything slow starts."""
    problems = [
        f"--{part} {name}: choose from {', '.join(known)}"
        for part, names, known in (
            ("vision", plan.vision, PRECISIONS),
            ("face", plan.face, PRECISIONS),
            ("language", plan.language, available_file_types(model.config.language)),
        )
        for name in names
        if name not in known
    ]
    if plan.labels not in model.config.label_sets:
        problems.append(f"--labels {plan.labels}: choose from {', '.join(model.config.label_sets)}")
    if problems:
        raise InputError("\n".join(problems))


def _agreement(measured: Mapping[str, float]) -> str:
    return f"label agreement {measured['label_agreement']:.4f}, mean KL {measured['kl_mean']:.2e}"


def _since(started: float) -> str:
    return f"{time.perf_counter() - started:.1f} s"
