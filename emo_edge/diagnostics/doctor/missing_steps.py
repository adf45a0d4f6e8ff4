"""Steps for engines that are not installed."""

from __future__ import annotations

from collections.abc import Iterator

from emo_edge.diagnostics.doctor.commands import build_flags, open_environment
from emo_edge.diagnostics.doctor.facts import Facts
from emo_edge.diagnostics.doctor.report import Step


def missing_steps(facts: Facts) -> Iterator[Step]:
    """Yield the step that installs each missing engine; on a Jetson, what JetPack has never comes from pip."""
    needed = [engine.module for engine in facts.missing if engine.needed]
    if facts.machine.jetson:
        yield from _from_jetpack(facts)
        yield from _on_jetson(facts, needed)
    elif needed:
        flags = build_flags(facts) if "llama_cpp" in needed else ""
        yield Step("missing", f"{', '.join(needed)}: a reading needs them", f'{flags}pip install "emo-edge[cpu]"')


def _from_jetpack(facts: Facts) -> Iterator[Step]:
    absent = {engine.module for engine in facts.missing}
    brought = " and ".join(name for name in ("cv2", "tensorrt") if name in absent)
    environment = facts.machine.closed_environment
    if brought and environment:
        what = f"JetPack brings {brought}; this environment hides the system's packages"
        yield Step("missing", what, open_environment(environment))
    elif brought:
        yield Step("missing", f"JetPack brings {brought}", "sudo apt install nvidia-jetpack")


def _on_jetson(facts: Facts, needed: list[str]) -> Iterator[Step]:
    for module, command in (
        ("onnxruntime", "pip install onnxruntime"),
        ("llama_cpp", f"{build_flags(facts)}pip install llama-cpp-python"),
        ("tokenizers", "pip install tokenizers"),
    ):
        if module in needed:
            yield Step("missing", f"{module}: a reading needs it", command)
    if any(engine.module == "cuda.bindings" for engine in facts.missing):
        major = (facts.machine.cuda_toolkit or "").partition(".")[0]
        version = f'"cuda-bindings=={major}.*"' if major else "cuda-bindings"
        yield Step("missing", "cuda-python: --device tensorrt needs it", f"pip install {version}")
