"""onnxscript's rewriting of a traced graph, without the searches that cannot find anything. The graph is the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx_ir as ir
from onnxscript.rewriter.pattern import MatchResult, SimplePatternMatcher
from onnxscript.rewriter.rules.common import slice_split_rule


@contextmanager
def quick_rewriting() -> Iterator[None]:
    """Rewrite the graphs that are traced meanwhile without useless searches."""
    with _slices_searched_from_slices(), _rules_tried_on_their_operators():
        yield


@contextmanager
def _slices_searched_from_slices() -> Iterator[None]:
    """Let the rule that joins two Slices into a Split start at Slices alone.

    It starts at every node otherwise and lists all nodes each time, before it looks at the first.
    """
    real = slice_split_rule.try_rewrite

    def try_rewrite(model: ir.Model, graph: ir.Graph | ir.Function, node: ir.Node, **options: Any) -> Any:
        return real(model, graph, node, **options) if node.op_type == "Slice" else None

    slice_split_rule.try_rewrite = try_rewrite
    try:
        yield
    finally:
        del slice_split_rule.try_rewrite


@contextmanager
def _rules_tried_on_their_operators() -> Iterator[None]:
    """Try a rule on nodes of its own operator alone: nine of ten attempts fail for another one, after some work."""
    real, other = SimplePatternMatcher.match, MatchResult().fail("another operator")

    def match(
        matcher: SimplePatternMatcher, model: ir.Model, graph: ir.Graph | ir.Function, node: ir.Node, **options: Any
    ) -> MatchResult:
        if matcher.pattern.has_single_output_node:
            wanted = matcher.pattern.output_node.op_identifier()
            if wanted is not None and wanted != node.op_identifier():
                return other
        return real(matcher, model, graph, node, **options)

    SimplePatternMatcher.match = match  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        SimplePatternMatcher.match = real  # type: ignore[method-assign]
