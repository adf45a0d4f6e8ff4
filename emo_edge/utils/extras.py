"""The extras of the package, and the error that names the one to install."""

from __future__ import annotations

from pathlib import Path

from emo_edge.errors import MissingExtraError

EXTRAS = {
    "cv2": "cpu",
    "onnxruntime": "cpu",
    "llama_cpp": "cpu",
    "tokenizers": "cpu",
    "openvino": "openvino",
    "PIL": "photos",
    "pillow_heif": "photos",
    "optimum": "peers",
    "tqdm": "bench",
    "torch": "export",
    "transformers": "export",
    "safetensors": "export",
    "sentencepiece": "export",
    "onnx": "export",
    "onnx_ir": "export",
    "onnxscript": "export",
    "gguf": "export",
}
"""Extra that brings each optional module."""
ON_JETSON = {
    "cv2": "JetPack has OpenCV: make the virtual environment with --system-site-packages",
    "onnxruntime": "Run: pip install onnxruntime",
}
"""Advice on a Jetson, where the extra would install another OpenCV over JetPack's."""
TEGRA_RELEASE = Path("/etc/nv_tegra_release")


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError:
    """Convert a failed import to the command that installs it; re-raise what no extra brings."""
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS:
        raise error
    if module in ON_JETSON and TEGRA_RELEASE.exists():
        return MissingExtraError(f"{module} is not installed. {ON_JETSON[module]}")
    return MissingExtraError(f'{module} is not installed. Run: pip install "emo-edge[{EXTRAS[module]}]"')
