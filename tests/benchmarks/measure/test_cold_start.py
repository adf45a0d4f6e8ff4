"""Fresh processes of a benchmark: what they import is in the times and the memory that are reported."""

from __future__ import annotations

import subprocess
import sys


def test_a_profiles_process_imports_neither_pytorch_nor_exporters() -> None:
    """They took 1.4 s and 200 MB of a cold start that needs none of them."""
    code = (
        "import sys; import emo_edge.benchmarks.measure.cold_start_worker; import emo_edge.benchmarks.workload.images; "
        "import emo_edge.benchmarks.workload.open; print(*{'torch', 'onnx', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
