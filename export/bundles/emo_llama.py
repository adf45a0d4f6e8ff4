"""Checkpoint to bundle: every variant is written, opened by its engine, compared, and kept only inside its gate."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from emo_edge.assets.packaged import Sample
from emo_edge.bundle.gguf_types import EXACT, UNQUANTIZED
from emo_edge.bundle.manifest import BundleFile, Manifest, Profile
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.writer import BundleWriter
from emo_edge.console.progress import QUIET, Reports, in_megabytes
from emo_edge.errors import AccuracyGateError
from emo_edge.export.bundles.config import ExportConfig
from emo_edge.export.bundles.detector import own_detector
from emo_edge.export.bundles.evaluate import chain_probabilities
from emo_edge.export.bundles.manifest import Contracts, bundle_manifest
from emo_edge.export.bundles.profiles import language_profiles
from emo_edge.export.bundles.run import LABEL_EVIDENCE, ExportRun, GraphBaseline, since
from emo_edge.export.bundles.size_estimate import export_bytes
from emo_edge.export.bundles.visual_tokens import own_budget, with_budget
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.gguf.quantize import quantize_gguf
from emo_edge.export.gguf.trials import label_scores
from emo_edge.export.gguf.writer import WRITTEN_TYPES, gguf_from_checkpoint, lossless_type
from emo_edge.export.onnx.export import component_contracts, onnx_from_component
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration, parameter_shapes
from emo_edge.export.reference.outputs import probabilities_with, reference_on
from emo_edge.export.reference.tokenizer import QUESTION_MODEL_NAME
from emo_edge.export.reference.weights import check_layers, check_structure
from emo_edge.inference.detectors import DetectorFiles
from emo_edge.inference.probability import softmax
from emo_edge.metrics.gates import exact_failures
from emo_edge.metrics.label_agreement import label_distance
from emo_edge.runtimes.llama_cpp.session import LlamaSession
from emo_edge.utils.files import require_disk_space


def bundle_from_checkpoint(
    directory: Path,
    target: Path,
    config: ExportConfig,
    samples: Sequence[Sample],
    *,
    overwrite: bool = False,
    threads: int | None = None,
    detector: DetectorFiles | None = None,
    reports: Reports = QUIET,
) -> Bundle:
    """Write the bundle of a checkpoint.

    Args:
        directory: the checkpoint.
        target: the bundle; refused if it holds anything, unless ``overwrite``. It appears only when all is done.
        config: variants and labels.
        samples: pictures to compare on.
        overwrite: replace a bundle as a whole.
        threads: of the engines that are compared; None leaves it to them.
        detector: for the bundle; None takes the checkpoint's own.
        reports: gets every step.

    Raises AccuracyGateError, after writing what passed, if a variant fails its gate or the exact profile is not exact.
    """
    model_config = EmoLlamaConfig.from_pretrained(directory)
    config.check(model_config)
    check_layers(model_config.layers, directory)
    check_structure(parameter_shapes(model_config), directory)
    plan = config.fingerprint(directory, model_config, samples)
    detector = detector or own_detector(model_config.detector)
    with BundleWriter(target, overwrite=overwrite, plan=plan) as writer:
        finished = sum(file.size for variant in writer.finished.values() for file in variant.files)
        needed = export_bytes(model_config, config.graphs(model_config), config.language, lossless_type(directory))
        require_disk_space(writer.partial, needed - finished)
        run = ExportRun(directory, writer, samples, threads, reports, detector)
        export = _Export(run, config)
        for component, precisions in config.graphs(model_config).items():
            export.graphs(component, precisions)
        export.forget_model()
        # First the types that others may be quantized from.
        for file_type in sorted(config.language, key=lambda name: name not in WRITTEN_TYPES):
            export.language(file_type)
        bundle = run.finish(export.manifest(), target)
    run.require_no_failures()
    return bundle


class _Export:
    """The stages of one export: graphs, language model, manifest."""

    def __init__(self, run: ExportRun, plan: ExportConfig) -> None:
        self.run, self.plan, self.directory, self.writer = run, plan, run.directory, run.writer
        self.model = EmoLlamaForConditionalGeneration.from_pretrained(run.directory, stream=True)
        self.config = self.model.config
        self.visual_tokens = own_budget(self.config)
        if plan.visual_tokens is not None:
            self.visual_tokens = with_budget(self.model, plan.visual_tokens, run.samples, plan.labels, run.reports)
            self.config = self.model.config
        started = time.perf_counter()
        labels = self.config.label_sets[plan.labels]
        self.reference = reference_on(self.model, run.samples, labels, run.reports.of("reference"))
        run.report(f"reference: {len(run.samples)} pictures, PyTorch {torch.__version__}, {since(started)}")
        self.contracts: dict[str, Contracts] = {}

    def graphs(self, component: str, precisions: Sequence[str]) -> None:
        """Trace one component, write every precision, and keep those that hold their gate on the samples."""
        self.contracts[component] = component_contracts(self.model, component)
        missing = [precision for precision in precisions if not self.run.resumed(component, precision)]
        if not missing:
            return
        written = self._traced_and_written(component, missing)
        units = self.config.action_units
        thresholds = units.active_from if units and component == "face" else ()
        baseline = GraphBaseline(self.contracts[component], *self.reference.of(component), thresholds)
        for precision in missing:
            self._compare(component, precision, written[precision], baseline)

    def _traced_and_written(self, component: str, precisions: Sequence[str]) -> dict[str, list[Path]]:
        """Write the graphs before any is run: then their weights, which are the model's, can be forgotten."""
        started = time.perf_counter()
        self.run.reports.progress(f"trace {component}", 0, 1)
        full = onnx_from_component(self.model, component)
        # The rest of the export computes with the connector and LLaMA alone.
        if component != "connector" and (part := getattr(self.model, component)) is not None:
            part.to("meta")
        files = self.run.write_graphs(full, component, precisions)
        self.run.report(f"{component}: traced, {' and '.join(precisions)} written, {since(started)}")
        return files

    def _compare(self, component: str, precision: str, files: list[Path], baseline: GraphBaseline) -> None:
        """Run one graph on the samples and keep it inside its gate, with the labels that follow as evidence."""
        started = time.perf_counter()
        compared = self.run.compared(component, precision, files, baseline)
        if compared is None:
            return
        evidence = dict(compared.evidence)
        probabilities = probabilities_with(self.model, self.reference, component, compared.outputs)
        if probabilities is not None:
            evidence[LABEL_EVIDENCE] = label_distance(self.reference.probabilities, probabilities)
        size = self.run.keep(component, precision, files, evidence)
        self.run.report(f"{component} {precision}: {size}, {compared.summary()}, {since(started)}")

    def forget_model(self) -> None:
        """Free what only the graphs needed, before llama.cpp loads its own copies of the largest part."""
        del self.model
        gc.collect()

    def language(self, file_type: str) -> None:
        """Write one file type of the language model and score the reference's own prompts with it."""
        started, path = time.perf_counter(), self.writer.path(f"language-{file_type}.gguf")
        if self.run.resumed("language", file_type):
            return
        if file_type in WRITTEN_TYPES:
            self._gguf(path, file_type)
        else:
            source = self._unrounded()
            self.run.reports.progress(f"quantize {file_type}", 0, 1)
            quantize_gguf(source, path, file_type, known_finite=True)
        measured = self._language_distance(path, file_type)
        name = f"language {file_type}"
        if self.run.passes(name, exact_failures(measured) if file_type in EXACT else []):
            size = self.run.keep("language", file_type, [path], {LABEL_EVIDENCE: measured})
            self.run.report(f"{name}: {size}, {_agreement(measured)}, {since(started)}")

    def _language_distance(self, path: Path, file_type: str) -> dict[str, float]:
        context, exact = self.config.language.max_position_embeddings, file_type in UNQUANTIZED
        progress = self.run.reports.of(f"language {file_type}")
        with LlamaSession(path, context_size=context, exact_cache=exact, threads=self.run.threads) as session:
            probabilities = softmax(label_scores(session, self.reference, progress=progress))
        return label_distance(self.reference.probabilities, probabilities)

    def _unrounded(self) -> Path:
        """Write the file that the others are quantized from; rounding twice would add an avoidable error."""
        file_type = lossless_type(self.directory)
        variant, source = (self.writer.path(f"{use}-{file_type}.gguf") for use in ("language", "source"))
        if variant.exists():
            return variant
        if not source.exists():
            self._gguf(source, file_type)
        return source

    def _gguf(self, path: Path, file_type: str) -> None:
        gguf_from_checkpoint(
            self.directory,
            self.config.language,
            path,
            file_type=file_type,
            name=self.config.provenance.get("name", self.directory.name),
            progress=in_megabytes(self.run.reports.of(f"write {path.name}, MB")),
        )

    def manifest(self) -> Manifest:
        """Describe what was kept, with every profile's whole chain measured against the reference."""
        self.run.require_variants([*self.plan.graphs(self.config), "language"])
        entry, origin = self._question_tokenizer(), self.run.origin()
        origin["compared_on"] += f", labels {self.plan.labels}"

        def describe(profiles: Mapping[str, Profile]) -> Manifest:
            name = self.directory.name
            return bundle_manifest(
                self.config, self.contracts, self.run.variants, entry, profiles, name, origin, self.visual_tokens
            )

        draft = describe(language_profiles(self.run.variants))
        # Written, or verified, by this process: `finish` verifies it again.
        bundle = Bundle(self.writer.partial, draft)
        measured = {name: self._measured(bundle, name, profile) for name, profile in draft.profiles.items()}
        return describe(self._passing(measured))

    def _question_tokenizer(self) -> BundleFile | None:
        """Copy the tokenizer of the question, where the connector reads one."""
        if not self.config.connector.qformer:
            return None
        tokenizer = self.writer.path(QUESTION_MODEL_NAME)
        tokenizer.write_bytes((self.directory / QUESTION_MODEL_NAME).read_bytes())
        return self.writer.entry(tokenizer)

    def _measured(self, bundle: Bundle, name: str, profile: Profile) -> Profile:
        """Run the whole chain of a profile, from picture to probabilities."""
        run = self.run
        progress = run.reports.of(f"profile {name}")
        chain = chain_probabilities(bundle, name, run.samples, self.plan.labels, threads=run.threads, progress=progress)
        measured = label_distance(self.reference.probabilities, chain.probabilities)
        run.report(f"profile {name}: {_agreement(measured)}, {chain.milliseconds:.0f} ms a picture")
        return profile.model_copy(update={"evidence": measured})

    def _passing(self, profiles: Mapping[str, Profile]) -> dict[str, Profile]:
        """Leave out an exact profile whose whole chain is not exact."""
        failures = exact_failures(profiles["exact"].evidence) if "exact" in profiles else []
        self.run.failures += [f"profile exact: {failure}" for failure in failures]
        kept = {name: profile for name, profile in profiles.items() if not (failures and name == "exact")}
        if not kept:
            raise AccuracyGateError(f"no profile holds its gate, nothing is written:\n{self.run.listing()}")
        return kept


def _agreement(measured: Mapping[str, float]) -> str:
    return f"label agreement {measured['label_agreement']:.4f}, mean KL {measured['kl_mean']:.2e}"
