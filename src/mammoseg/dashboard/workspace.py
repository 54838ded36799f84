"""W&B workspace that compares the methods side by side.

wandb-workspaces serialises a workspace to JSON only through a private method. It is called only in this module, and
pyproject.toml pins the release.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from mammoseg.density import ACRDensity
from mammoseg.errors import UserError
from mammoseg.metrics import PIXEL_METRICS
from mammoseg.optional_imports import import_optional

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace


def import_wandb_workspaces() -> tuple[Any, Any]:
    """Import the modules for workspaces and for panels.

    Raises:
        UserError: If wandb_workspaces is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations of pydantic, which cannot be fixed here
        workspaces, panels = (
            import_optional(f"wandb_workspaces.{module}", "mammoseg.dashboard", "dashboard")
            for module in ("workspaces", "reports.v2")
        )
    return workspaces, panels


def build_workspace(entity: str, project: str, name: str) -> Workspace:
    """Build a workspace with metrics by method and by density, curves, gradients, θ and α against DSC, and overlays.

    Args:
        entity: W&B user or team; "" for a workspace that is only written to a file.
        project: W&B project.
        name: Name of the workspace.

    Raises:
        UserError: If wandb-workspaces is not installed.
    """
    workspaces, panels = import_wandb_workspaces()
    overall = [bar_plot(panels, f"test/{key}", metric.heading) for key, metric in PIXEL_METRICS.items()]
    by_density = [
        bar_plot(panels, f"test/{key}_density{category}", f"{metric.heading}, ACR {category}")
        for key, metric in PIXEL_METRICS.items()
        for category in ACRDensity
    ]
    parameters = [*(f"theta_acr{category}" for category in ACRDensity), "alpha"]
    columns = [panels.ParallelCoordinatesPlotColumn(panels.Config(key), display_name=key) for key in parameters]
    columns.append(panels.ParallelCoordinatesPlotColumn(panels.SummaryMetric("test/dsc"), display_name="DSC"))
    curves = ["train/loss", "val/loss", *(f"val/{key}" for key in PIXEL_METRICS)]
    gradients = ["train/grad_norm", "train/clipped", "train/clip_factor"]
    section = workspaces.Section
    workspace: Workspace = workspaces.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            section("Methods", overall, is_open=True),
            section("By density", by_density, is_open=True),
            section("Curves", [line_plot(panels, curve) for curve in curves]),
            section("Gradients", [line_plot(panels, curve) for curve in gradients]),
            section("θ and α", [panels.ParallelCoordinatesPlot(columns=columns)]),
            section("Overlays", [panels.MediaBrowser(media_keys=["test/overlays"], num_columns=4)], is_open=True),
        ],
        runset_settings=workspaces.RunsetSettings(groupby=[workspaces.Config("method")]),
        auto_generate_panels=False,
    )
    return workspace


def bar_plot(panels: Any, metric: str, title: str) -> Any:
    """Create a bar plot: one bar per method, the mean over its runs with their standard deviation."""
    return panels.BarPlot(
        title=title,
        metrics=[panels.SummaryMetric(metric)],
        groupby=panels.Config("method"),
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        orientation="v",
    )


def line_plot(panels: Any, metric: str) -> Any:
    """Create a line plot against the epoch: one line per method, the mean over its runs."""
    return panels.LinePlot(
        title=metric, x="epoch", y=[panels.Metric(metric)], groupby=panels.Config("method"), groupby_aggfunc="mean"
    )


def specification(workspace: Workspace) -> str:
    """Serialise a workspace to JSON, in the format that W&B stores."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return str(workspace._to_model().model_dump_json(by_alias=True, indent=1))


def save(workspace: Workspace) -> str:
    """Save a workspace on the W&B server.

    Returns:
        Its URL.

    Raises:
        UserError: If W&B rejects it.
    """
    import wandb

    try:
        workspace.save()  # type: ignore[no-untyped-call]  # the package has no annotations
    except (wandb.errors.UsageError, wandb.errors.CommError, wandb.errors.AuthenticationError, ValueError) as error:
        raise UserError(
            f"W&B did not save the workspace ({error}); log in with `wandb login`, and check entity and project"
        ) from error
    return str(workspace.url)
