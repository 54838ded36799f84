"""Formulas of the registered metrics as JavaScript, so that the page can evaluate them at a moving threshold.

Each formula is traced with torch.fx and translated operation by operation. A metric whose formula uses another
operation than those of `FUNCTIONS` and `METHODS`, or branches on values, is left out of the page with a warning.
"""

from __future__ import annotations

import json
import logging
import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from mammoseg.metrics import PIXEL_METRICS, PooledPixelMetric

log = logging.getLogger(__name__)

FUNCTIONS: dict[Callable[..., Any], str] = {
    operator.add: "({} + {})",
    operator.sub: "({} - {})",
    operator.mul: "({} * {})",
    operator.truediv: "({} / {})",
    operator.pow: "({} ** {})",
    operator.neg: "(-{})",
    operator.gt: "({} > {})",
    operator.ge: "({} >= {})",
    operator.lt: "({} < {})",
    operator.le: "({} <= {})",
    torch.where: "({} ? {} : {})",
    torch.abs: "Math.abs({})",
    torch.sqrt: "Math.sqrt({})",
    torch.maximum: "Math.max({}, {})",
    torch.minimum: "Math.min({}, {})",
}
METHODS = {"abs": "Math.abs({})", "sqrt": "Math.sqrt({})"}
ARGUMENTS = ("tp", "fp", "fn", "tn")


class UntranslatableError(Exception):
    """A formula that cannot be expressed in JavaScript."""


def metrics_script() -> str:
    """JavaScript that defines METRICS: key, names, unit, scale and formula of each metric."""
    entries = []
    for key, metric in PIXEL_METRICS.items():
        try:
            formula = to_javascript(metric)
        except UntranslatableError as error:
            log.warning("%s is not shown in the viewer: %s", metric.title, error)
            continue
        names = {"key": key, "title": metric.title, "short": metric.short_name}
        facts = json.dumps({**names, "unit": metric.unit, "scale": metric.scale()})
        entries.append(f"  {{ ...{facts}, formula: ({{ {', '.join(ARGUMENTS)} }}) => {formula} }},")
    return "\n".join(["// Generated from the metrics in Python.", "const METRICS = [", *entries, "];"])


def to_javascript(metric: type[PooledPixelMetric]) -> str:
    """The formula of a metric as a JavaScript expression in tp, fp, fn and tn.

    Raises:
        UntranslatableError: If it cannot be expressed.
    """
    try:
        graph = fx.symbolic_trace(metric.formula).graph
    except (fx.proxy.TraceError, TypeError) as error:
        raise UntranslatableError(f"its formula cannot be traced ({error})") from error
    names = iter(ARGUMENTS)
    expressions: dict[fx.Node, str] = {}

    def text(value: Any) -> str:
        if isinstance(value, fx.Node):
            return expressions[value]
        if isinstance(value, int | float):
            return "NaN" if math.isnan(value) else json.dumps(value)
        raise UntranslatableError(f"its formula uses {value!r}")

    for node in graph.nodes:
        if node.op == "placeholder":
            expressions[node] = next(names)
        elif node.op == "output":
            return text(node.args[0])
        else:
            known: dict[Any, str] = FUNCTIONS if node.op == "call_function" else METHODS
            if node.target not in known or node.kwargs:
                raise UntranslatableError(f"its formula uses {node.target}")
            expressions[node] = known[node.target].format(*map(text, node.args))
    raise AssertionError("a traced graph ends with its output")
