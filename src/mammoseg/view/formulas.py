"""Formulas of the registered metrics as JavaScript, so that the page can evaluate them at any threshold.

Each formula is traced with torch.fx and translated operation by operation. A metric whose formula branches on values
or uses operations other than those in `FUNCTIONS` and `METHODS` is skipped with a warning.
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
    """JavaScript that defines METRICS, a list of objects with key, title, shortName, unit, scale and formula."""
    entries = []
    for key, metric in PIXEL_METRICS.items():
        try:
            formula = to_javascript(metric)
        except UntranslatableError as error:
            log.warning("%s is not shown in the viewer: %s", metric.title, error)
            continue
        names = {"key": key, "title": metric.title, "shortName": metric.short_name}
        fields = json.dumps({**names, "unit": metric.unit, "scale": metric.scale()})
        entries.append(f"  {{ ...{fields}, formula: ({{ {', '.join(ARGUMENTS)} }}) => {formula} }},")
    return "\n".join(["// Generated from the metrics in Python.", "const METRICS = [", *entries, "];"])


def to_javascript(metric: type[PooledPixelMetric]) -> str:
    """Translate the formula of a metric to a JavaScript expression in tp, fp, fn and tn.

    Raises:
        UntranslatableError: If it cannot be expressed in JavaScript.
    """
    try:
        graph = fx.symbolic_trace(metric.formula).graph
    except (fx.proxy.TraceError, TypeError) as error:
        raise UntranslatableError(f"its formula cannot be traced ({error})") from error
    argument_names = iter(ARGUMENTS)
    expressions: dict[fx.Node, str] = {}

    def to_expression(value: Any) -> str:
        if isinstance(value, fx.Node):
            return expressions[value]
        if isinstance(value, int | float):
            return "NaN" if math.isnan(value) else json.dumps(value)
        raise UntranslatableError(f"its formula uses {value!r}")

    for node in graph.nodes:
        if node.op == "placeholder":
            expressions[node] = next(argument_names)
        elif node.op == "output":
            return to_expression(node.args[0])
        else:
            templates: dict[Any, str] = FUNCTIONS if node.op == "call_function" else METHODS
            if node.target not in templates or node.kwargs:
                raise UntranslatableError(f"its formula uses {node.target}")
            expressions[node] = templates[node.target].format(*map(to_expression, node.args))
    raise AssertionError("a traced graph must end with an output node")
