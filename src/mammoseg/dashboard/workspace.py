"""The W&B workspace in which the methods stand side by side.

wandb-workspaces turns a workspace into JSON only through private methods; this is the one place that calls them,
and pyproject.toml pins the release.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from mammoseg.density import ACRDensity
from mammoseg.errors import UserError
from mammoseg.metrics import PIXEL_METRICS

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace


def packages() -> tuple[Any, Any]:
    """wandb-workspaces' two modules. Raises UserError if it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic's deprecations, not ours to mend
        try:
            import wandb_workspaces.reports.v2 as panels
            import wandb_workspaces.workspaces as workspaces
        except ImportError as error:
            raise UserError("the dashboard needs wandb-workspaces; pip install '.[dashboard]'") from error
    return workspaces, panels


def workspace(entity: str, project: str, name: str) -> Workspace:
    """Panels: every metric by method and by density, curves, theta and alpha against DSC, the overlays."""
    workspaces, panels = packages()
    overall = [bars(panels, f"test/{key}", metric.heading) for key, metric in PIXEL_METRICS.items()]
    by_density = [
        bars(panels, f"test/{key}_density{category}", f"{metric.heading}, ACR {category}")
        for key, metric in PIXEL_METRICS.items()
        for category in ACRDensity
    ]
    swept = [*(f"theta_acr{category}" for category in ACRDensity), "alpha"]
    columns = [panels.ParallelCoordinatesPlotColumn(panels.Config(key), display_name=key) for key in swept]
    columns.append(panels.ParallelCoordinatesPlotColumn(panels.SummaryMetric("test/dsc"), display_name="DSC"))
    curves = ["train/loss", "val/loss", *(f"val/{key}" for key in PIXEL_METRICS)]
    section = workspaces.Section
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            section("Methods", overall, is_open=True),
            section("By density", by_density, is_open=True),
            section("Curves", [curve(panels, name) for name in curves]),
            section("θ and α", [panels.ParallelCoordinatesPlot(columns=columns)]),
            section("Overlays", [panels.MediaBrowser(media_keys=["test/overlays"], num_columns=4)], is_open=True),
        ],
        runset_settings=workspaces.RunsetSettings(groupby=[workspaces.Config("method")]),
        auto_generate_panels=False,
    )


def bars(panels: Any, metric: str, title: str) -> Any:
    """A bar for each method: the mean over its runs, with the standard deviation."""
    return panels.BarPlot(
        title=title,
        metrics=[panels.SummaryMetric(metric)],
        groupby=panels.Config("method"),
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        orientation="v",
    )


def curve(panels: Any, metric: str) -> Any:
    """A line for each method against the epoch."""
    return panels.LinePlot(
        title=metric, x="epoch", y=[panels.Metric(metric)], groupby=panels.Config("method"), groupby_aggfunc="mean"
    )


def specification(built: Workspace) -> str:
    """The workspace as JSON, in the form that W&B stores."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return str(built._to_model().model_dump_json(by_alias=True, indent=1))


def save(built: Workspace) -> str:
    """Save it on the W&B server and return its address. Raises UserError where W&B refuses."""
    import wandb

    try:
        built.save()
    except (wandb.errors.UsageError, wandb.errors.CommError, wandb.errors.AuthenticationError, ValueError) as error:
        raise UserError(
            f"mode=online: W&B refuses ({error}); log in with `wandb login`, and say entity and project"
        ) from error
    return str(built.url)
