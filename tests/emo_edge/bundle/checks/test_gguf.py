"""Language models that llama.cpp would end the process on: one error each, before it opens the file."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emo_edge.bundle.checks.gguf import check_gguf, rules
from emo_edge.bundle.checks.language import language_header
from emo_edge.bundle.checks.vocabulary import KINDS, SCORES, TOKENS
from emo_edge.bundle.gguf_header import LARGEST, read_gguf_header
from emo_edge.bundle.manifest import BundleFile, Components, LanguageComponent, Manifest, Variant
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import BundleError, CheckpointError
from emo_edge.planning.probes.language import F16, LanguageProbe

FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
ALIGNMENT = 32


NAN, INFINITY = math.nan, math.inf
UINT16, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64, FLOAT64 = 2, 4, 5, 6, 7, 8, 9, 10, 12
VALUES = [
    *[(UINT32, value) for value in (0, 1, 7, LARGEST + 1, 2**31, 2**32 - 1)],
    *[(FLOAT32, value) for value in (0.0, -1.0, 1.0, 1e30, NAN, INFINITY, -INFINITY)],
    *[(INT32, -1), (UINT64, 2**63), (FLOAT64, NAN), (STRING, b""), (STRING, b"x"), (BOOL, True)],
    *[(ARRAY, (UINT32, [1, 2])), (ARRAY, (STRING, [b"x"]))],
]
"""GGUF's type and value of what every key is set to, one after the other."""
EPSILON, NORM, QUERY = "llama.attention.layer_norm_rms_epsilon", "blk.0.attn_norm.weight", "blk.0.attn_q.weight"


@dataclass
class GgufFile:
    """A file's metadata, key to type and value; its tensors, name to axes, type and offset; its data."""

    pairs: dict[str, tuple[int, Any]]
    tensors: dict[str, tuple[list[int], int, int]]
    data: bytes
    counts: tuple[int, int] | None = None
    """Of tensors and keys, where they are not those there are."""
    repeated: Sequence[str] = ()
    """Keys that are written twice."""

    def set_array(self, key: str, **values: Any) -> None:
        """Replace values of an array by their positions, as ``_7=b"x"``."""
        kind, (inner, old) = self.pairs[key]
        new = list(old)
        for place, value in values.items():
            new[int(place[1:])] = value
        self.pairs[key] = (kind, (inner, new))

    def content(self) -> bytes:
        """Return the file's bytes."""
        tensors, keys = self.counts or (len(self.tensors), len(self.pairs) + len(self.repeated))
        parts = [b"GGUF", struct.pack("<IQQ", 3, tensors, keys)]
        for key in (*self.pairs, *self.repeated):
            kind, value = self.pairs[key]
            parts += [packed(STRING, key.encode()), struct.pack("<I", kind), packed(kind, value)]
        for name, (axes, kind, offset) in self.tensors.items():
            parts += [packed(STRING, name.encode()), struct.pack(f"<I{len(axes)}QIQ", len(axes), *axes, kind, offset)]
        head = b"".join(parts)
        return head + b"\0" * (-len(head) % ALIGNMENT) + self.data


def packed(kind: int, value: Any) -> bytes:
    """Return a value's bytes; an array is its values' type and the values."""
    if kind == STRING:
        return struct.pack("<Q", len(value)) + value
    if kind == ARRAY:
        inner, values = value
        return struct.pack("<IQ", inner, len(values)) + b"".join(packed(inner, one) for one in values)
    return struct.pack(f"<{FORMATS[kind]}", value)


def read_gguf(path: Path) -> GgufFile:
    """Take a well-formed file apart."""
    content, position = path.read_bytes(), 8

    def take(code: str) -> Any:
        nonlocal position
        (value,) = struct.unpack_from(f"<{code}", content, position)
        position += struct.calcsize(f"<{code}")
        return value

    def value_of(kind: int) -> Any:
        nonlocal position
        if kind == ARRAY:
            inner, count = take("I"), take("Q")
            return inner, [value_of(inner) for _ in range(count)]
        if kind != STRING:
            return take(FORMATS[kind])
        size = take("Q")
        position += size
        return content[position - size : position]

    tensors, keys = take("Q"), take("Q")
    pairs = {value_of(STRING).decode(): (kind := take("I"), value_of(kind)) for _ in range(keys)}
    infos = {
        value_of(STRING).decode(): ([take("Q") for _ in range(take("I"))], take("I"), take("Q")) for _ in range(tensors)
    }
    return GgufFile(pairs, infos, content[-(-position // ALIGNMENT) * ALIGNMENT :])


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaMA of one layer and 64 columns."""
    return LanguageProbe(64, 64, 1, F16).write(tmp_path_factory.mktemp("gguf") / "probe.gguf")


@pytest.fixture
def changed(probe: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write the probe after a change."""

    def made(change: Callable[[GgufFile], object]) -> Path:
        file = read_gguf(probe)
        change(file)
        path = tmp_path / "changed.gguf"
        path.write_bytes(file.content())
        return path

    return made


def pair(key: str, kind: int, value: Any) -> Callable[[GgufFile], object]:
    return lambda file: file.pairs.update({key: (kind, value)})


def tensor(name: str, axes: list[int] | None = None, kind: int | None = None, offset: int | None = None) -> Any:
    def change(file: GgufFile) -> None:
        old = file.tensors[name]
        new = (axes, kind, offset)
        file.tensors[name] = tuple(  # type: ignore[assignment]
            before if now is None else now for before, now in zip(old, new, strict=True)
        )

    return change


def resized(key: str, by: int) -> Callable[[GgufFile], object]:
    def change(file: GgufFile) -> None:
        kind, (inner, values) = file.pairs[key]
        file.pairs[key] = (kind, (inner, values[:by] if by < 0 else values + values[-1:] * by))

    return change


ENDED = {
    "a rms epsilon below 0": (pair(EPSILON, FLOAT32, -1.0), EPSILON),
    "one that is no number": (pair(EPSILON, FLOAT32, NAN), EPSILON),
    "no layers": (pair("llama.block_count", UINT32, 0), "llama.block_count"),
    "experts": (pair("llama.expert_count", UINT32, 8), "llama.expert_count"),
    "a token twice": (lambda file: file.set_array(TOKENS, _700=file.pairs[TOKENS][1][1][699]), TOKENS),
    "a token twice, once with a zero byte": (
        lambda file: file.set_array(TOKENS, _700=file.pairs[TOKENS][1][1][699] + b"\0"),
        TOKENS,
    ),
    "a byte without a token": (lambda file: file.set_array(TOKENS, _4=b"zzqq"), TOKENS),
    "data that lie at an odd byte": (pair("general.alignment", UINT32, 1), "general.alignment"),
}
"""Changes that end a process inside llama.cpp 0.3.36, and the key that the error names."""
REFUSED = {
    **ENDED,
    "no rms epsilon": (lambda file: file.pairs.pop(EPSILON), EPSILON),
    "a rms epsilon of 0": (pair(EPSILON, FLOAT32, 0.0), EPSILON),
    "another architecture": (pair("general.architecture", STRING, b"gpt2"), "general.architecture"),
    "another kind of tokens": (pair("tokenizer.ggml.model", STRING, b"gpt2"), "tokenizer.ggml.model"),
    "heads that do not divide": (pair("llama.attention.head_count", UINT32, 3), "llama.attention.head_count"),
    "no head of keys": (pair("llama.attention.head_count_kv", UINT32, 0), "llama.attention.head_count_kv"),
    "too many of them": (pair("llama.attention.head_count_kv", UINT32, 2), "llama.attention.head_count_kv"),
    "rope of odd size": (pair("llama.rope.dimension_count", UINT32, 63), "llama.rope.dimension_count"),
    "rope wider than a head": (pair("llama.rope.dimension_count", UINT32, 128), "llama.rope.dimension_count"),
    "an endless base": (pair("llama.rope.freq_base", FLOAT32, INFINITY), "llama.rope.freq_base"),
    "absurd positions": (pair("llama.context_length", UINT32, 2**31), "llama.context_length"),
    "no inner width": (pair("llama.feed_forward_length", UINT32, 0), "llama.feed_forward_length"),
    "parts in other files": (pair("split.count", UINT16, 2), "split.count"),
    "a token beyond the last": (pair("tokenizer.ggml.eos_token_id", UINT32, 1024), "tokenizer.ggml.eos_token_id"),
    "a vocabulary of other size": (pair("llama.vocab_size", UINT32, 1023), "llama.vocab_size"),
    "fewer tokens than rows": (resized(TOKENS, -1), SCORES),
    "a score too few": (resized(SCORES, -1), SCORES),
    "a kind too few": (resized(KINDS, -1), KINDS),
    "scores without an order": (lambda file: file.set_array(SCORES, _9=NAN), SCORES),
    "an unknown kind": (lambda file: file.set_array(KINDS, _9=99), KINDS),
    "a word for a byte": (lambda file: file.set_array(KINDS, _900=6), KINDS),
    "an empty token": (lambda file: file.set_array(TOKENS, _700=b""), TOKENS),
    "a token that is no text": (lambda file: file.set_array(TOKENS, _700=b"\xff"), TOKENS),
    "tokens as numbers": (pair(TOKENS, ARRAY, (INT32, [1] * 1024)), TOKENS),
    "a table of fewer rows": (tensor("token_embd.weight", [64, 1000]), "token_embd.weight"),
    "a matrix of other shape": (tensor(QUERY, [64, 32]), QUERY),
    "a norm of halves": (tensor(NORM, kind=1), NORM),
    "a matrix of integers": (tensor(QUERY, kind=24), QUERY),
    "data before their place": (tensor("output.weight", offset=32), "output.weight"),
    "data after the end": (tensor("output_norm.weight", offset=1 << 40), "tensors end after the file"),
    "a tensor less": (lambda file: file.tensors.pop(NORM), NORM),
    "one of another model": (lambda file: file.tensors.update({"blk.0.x": ([64], 0, 0)}), "blk.0.x"),
    "data that are cut off": (lambda file: setattr(file, "data", file.data[:-64]), "ends at byte"),
    "a key twice": (lambda file: setattr(file, "repeated", ["general.architecture"]), "twice"),
    "a billion keys": (lambda file: setattr(file, "counts", (1, 10**9)), "a count of 1000000000"),
    "a head without end": (lambda file: setattr(file, "counts", (1, 10**6)), "truncated"),
    "escapes in a key": (pair("llama.\x1b[31m", UINT32, 1), r"\x1b"),
}


def test_a_probe_is_fine(probe: Path) -> None:
    assert check_gguf(probe).shape().width == 64


@pytest.mark.parametrize("case", REFUSED)
def test_what_llama_cpp_is_not_given_is_one_error(changed: Callable[..., Path], case: str) -> None:
    change, named = REFUSED[case]
    with pytest.raises(CheckpointError) as raised:
        check_gguf(changed(change))
    assert named in str(raised.value)
    assert "changed.gguf" in str(raised.value)


@pytest.mark.parametrize("key", [key for key in rules("llama") if key.startswith("llama.")])
def test_no_size_is_taken_that_no_rule_allows(probe: Path, changed: Callable[..., Path], key: str) -> None:
    header = read_gguf_header(probe)
    kept = (header.kinds.get(key, UINT32), header.metadata.get(key, 1))
    for kind, value in VALUES:
        try:
            check_gguf(changed(pair(key, kind, value)))
        except CheckpointError:
            continue
        # The positions, the base and the scale of rope are free; no other size has the probe's tensors.
        free = ("llama.context_length", "llama.rope.freq_base", "llama.rope.scaling.factor")
        assert key in free or (kind, value) == kept


@pytest.mark.parametrize("case", ENDED)
def test_a_session_refuses_it_and_lives(changed: Callable[..., Path], case: str) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from emo_edge.errors import BundleError\n"
        "from emo_edge.runtimes.llama_cpp.session import LlamaSession\n"
        "try: LlamaSession(Path(sys.argv[1]), context_size=64)\n"
        "except BundleError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, changed(ENDED[case][0])], capture_output=True, text=True, check=False
    )
    assert (done.returncode, ENDED[case][1] in done.stdout) == (0, True), done.stderr


def test_an_error_names_a_few_of_many_problems(changed: Callable[..., Path]) -> None:
    def change(file: GgufFile) -> None:
        file.pairs.update({f"llama.x{number}": (UINT32, 1) for number in range(100)})

    with pytest.raises(BundleError, match="100 problem") as raised:
        check_gguf(changed(change))
    assert len(str(raised.value).splitlines()) == 10


@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        ({"context_size": 1025}, "context_size 1025 is more than llama.context_length 1024"),
        ({"embedding_size": 32}, "embedding_size 32 is not llama.embedding_length 64"),
    ],
)
def test_a_model_of_other_sizes_than_the_manifests_is_refused(probe: Path, sizes: dict[str, int], named: str) -> None:
    def bundle(**other: int) -> Bundle:
        file = BundleFile(path=probe.name, size=probe.stat().st_size, sha256="0" * 64)
        variants = {"f16": Variant(files=(file,))}
        component = LanguageComponent(**({"context_size": 1024, "embedding_size": 64} | other), variants=variants)
        parts = Components(vision=None, connector=None, face=None, language=component)
        return Bundle(probe.parent, Manifest.model_construct(components=parts))

    assert language_header(bundle(), "f16").shape().width == 64
    with pytest.raises(BundleError, match=named):
        language_header(bundle(**sizes), "f16")
