"""The float graphs of the bundle that is calibrated, and their inputs on the collected samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from emo_edge.bundle.manifest import GraphComponent
from emo_edge.calibration.int8.graph_files import fingerprint
from emo_edge.calibration.workflow.runs import GraphRun
from emo_edge.export.onnx.export import PRECISIONS
from emo_edge.runtimes.onnx import OnnxSession
from emo_edge.tensors import Tensor, TensorSpec


class FloatGraphs:
    """The float graphs of one bundle, by component."""

    def __init__(self, run: GraphRun) -> None:
        self.run, self.bundle = run, run.bundle

    def component(self, component: str) -> GraphComponent:
        """Return the manifest's entry of a graph."""
        return self.bundle.manifest.components.graph(component)

    def path(self, component: str, variant: str) -> Path:
        """Return the file of one variant."""
        return self.bundle.files(self.component(component).variants[variant])[0]

    def float_names(self, component: str) -> list[str]:
        """Return the names of its float variants, the most precise first."""
        return [name for name in PRECISIONS if name in self.component(component).variants]

    def floats(self, component: str) -> tuple[Path, Path]:
        """Return the most precise graph, which is measured, and the one that is written in INT8."""
        names = self.float_names(component)
        base = self.run.config.int8_base if self.run.config.int8_base in names else names[0]
        return self.path(component, names[0]), self.path(component, base)

    def stamp(self, component: str) -> str:
        """Hash the graphs that a partial result depends on; a connector reads the vision net's features."""
        read = ("vision", component) if component == "connector" else (component,)
        graphs = [fingerprint(self.path(part, self.float_names(part)[0])) for part in read]
        return hashlib.sha256("".join(graphs).encode()).hexdigest()[:12]

    def opened(self, component: str, graph: Path) -> OnnxSession:
        """Open a file of this component."""
        return OnnxSession(graph, *_specs(self.component(component)), threads=self.run.threads)

    def feeds(self, component: str) -> Iterator[dict[str, Tensor]]:
        """Yield the inputs of every collected sample, a batch at a time; nothing of them is kept."""
        if component != "connector":
            for image in self.run.images(component):
                yield {"image": image}
            return
        with self.opened("vision", self.path("vision", self.float_names("vision")[0])) as session:
            for image in self.run.images("vision"):
                yield {**session.run({"image": image}), **self.run.question(len(image))}


def _specs(component: GraphComponent) -> tuple[list[TensorSpec], list[TensorSpec]]:
    inputs, outputs = ([contract.spec() for contract in side] for side in (component.inputs, component.outputs))
    return inputs, outputs
