"""Contract of every option of callbacks, logger, optimizer, split, augment, sampler and scheduler."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from choices import options
from training import compose_tiny, train

from mammoseg.errors import UserError
from mammoseg.schedulers import count_optimizer_steps

# Lightning's recommendations for longer training, and for the learning-rate monitor of a constant learning rate.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*",
    "ignore:.*LearningRateMonitor.*no learning rate schedulers.*",
    "ignore:Checkpoint directory .* exists and is not empty",
)
GROUPS = ("callbacks", "logger", "optimizer", "split", "augment", "sampler", "scheduler")
RESUMED: list[str | tuple[str, ...]] = [
    *[f"scheduler={name}" for name in options("scheduler")],
    *[f"callbacks={name}" for name in options("callbacks")],
    "sampler=negative_fraction",
    "layer_decay=0.5",
    ("callbacks=freeze_encoder", "callbacks.freeze_encoder.epochs=1"),  # interrupted after the encoder is unfrozen
    ("callbacks=freeze_encoder", "callbacks.freeze_encoder.epochs=2", "layer_decay=0.5", "scheduler=one_cycle"),
]
# An improvement of the DSC by 1 is impossible.
NO_IMPROVEMENT = {"reduce_on_plateau": ("scheduler.scheduler.patience=0", "+scheduler.scheduler.threshold=1")}


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which the synthetic images are prepared on first use."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in GROUPS for name in options(group)])
def test_training_writes_only_into_the_run_folder(group: str, name: str, data: Path, tmp_path: Path) -> None:
    cfg = compose_tiny(data, f"{group}={name}", "epochs=1", "+trainer.limit_train_batches=2")
    trained = train(cfg, tmp_path / "run")
    assert trained.trainer.global_step == 2
    assert all(value.isfinite().all() for value in trained.segmenter.net.parameters())
    written = contents(tmp_path)
    assert trained.last in written
    assert all(path.is_relative_to(tmp_path / "run") for path in written)


@pytest.mark.parametrize("name", options("logger"))
def test_closed_logger_does_not_write(name: str, data: Path, tmp_path: Path) -> None:
    """The runs of a sweep share a process."""
    cfg = compose_tiny(data, f"logger={name}", "epochs=1")
    train(cfg, tmp_path / "first")
    expected = settled_contents(tmp_path / "first")
    for run_logger in train(cfg, tmp_path / "second").run_loggers:
        run_logger.close()  # closing twice must have no effect
    assert contents(tmp_path / "first") == expected


def settled_contents(folder: Path) -> dict[Path, bytes]:
    """Return the contents of a folder when they no longer change: the process of wandb may write after `finish`."""
    previous, current = None, contents(folder)
    while current != previous:
        time.sleep(1)
        previous, current = current, contents(folder)
    return current


@pytest.mark.parametrize("name", options("scheduler"))
def test_learning_rate_changes_at_the_interval_of_the_scheduler(name: str, data: Path, tmp_path: Path) -> None:
    cfg = compose_tiny(data, f"scheduler={name}", "epochs=3", "lr_decay_epochs=1", *NO_IMPROVEMENT.get(name, ()))
    rates = train(cfg, tmp_path / "run").history.learning_rates
    assert len(rates) == 3
    interval = cfg.scheduler.interval if cfg.scheduler else None
    changes = [len(set(epoch)) > 1 for epoch in rates.values()]
    assert changes[0] == any(changes) == (interval == "step")  # step_warmup changes it within the first epoch only
    assert (rates[0] != rates[2]) == (interval is not None)


@pytest.mark.parametrize("accumulated", [1, 2])
@pytest.mark.parametrize("name", ["one_cycle", "cosine", "polynomial"])
def test_total_steps_equal_the_steps_of_the_run(name: str, accumulated: int, data: Path, tmp_path: Path) -> None:
    cfg = compose_tiny(data, f"scheduler={name}", f"+trainer.accumulate_grad_batches={accumulated}")
    trained = train(cfg, tmp_path / "run")
    (lr_scheduler_config,) = trained.trainer.lr_scheduler_configs
    assert lr_scheduler_config.scheduler.last_epoch == trained.trainer.global_step
    assert count_optimizer_steps(trained.trainer) == trained.trainer.estimated_stepping_batches
    rates = [rate for epoch in trained.history.learning_rates.values() for rate in epoch[::accumulated]]
    decreasing = rates[rates.index(max(rates)) :]
    assert decreasing == sorted(set(decreasing), reverse=True)
    assert min(rates[-1], *lr_scheduler_config.scheduler.get_last_lr()) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "override", RESUMED, ids=lambda override: override if isinstance(override, str) else ",".join(override)
)
def test_run_resumed_within_an_epoch_has_the_same_weights(
    override: str | tuple[str, ...], data: Path, tmp_path: Path
) -> None:
    overrides = (override,) if isinstance(override, str) else override
    cfg = compose_tiny(data, *overrides, "epochs=3", "lr_decay_epochs=1", "augment=flip_affine")
    if "ema" not in override:
        cfg.batch_size = 4
    uninterrupted = train(cfg, tmp_path / "uninterrupted")
    batches = len(uninterrupted.history.learning_rates[0])
    assert batches > 2
    train(cfg, tmp_path / "resumed", signal_at=batches + 2)
    resumed = train(cfg, tmp_path / "resumed", resume=True)
    assert resumed.trainer.global_step == uninterrupted.trainer.global_step
    expected, actual = (torch.load(run.last, weights_only=True) for run in (uninterrupted, resumed))
    for key in ("state_dict", "current_model_state"):
        assert (key in expected) == (key in actual)
        for name, value in expected.get(key, {}).items():
            assert torch.equal(value, actual[key][name]), name
    assert uninterrupted.history.learning_rates[2] == resumed.history.learning_rates[2]


def test_stop_waits_for_the_end_of_gradient_accumulation(data: Path, tmp_path: Path) -> None:
    """Accumulated gradients are not part of a checkpoint."""
    cfg = compose_tiny(data, "epochs=2", "batch_size=4", "+trainer.accumulate_grad_batches=2")
    uninterrupted = train(cfg, tmp_path / "uninterrupted")
    train(cfg, tmp_path / "resumed", signal_at=1)
    stopped = torch.load(tmp_path / "resumed" / "checkpoints" / "last.ckpt", weights_only=True)
    assert stopped["global_step"] == 1
    resumed = train(cfg, tmp_path / "resumed", resume=True)
    for name, value in uninterrupted.segmenter.state_dict().items():
        assert torch.equal(value, resumed.segmenter.state_dict()[name]), name


def test_checkpoint_with_ema_contains_the_averaged_weights(data: Path, tmp_path: Path) -> None:
    cfg = compose_tiny(data, "callbacks=ema", "epochs=1", "batch_size=4")
    trained = train(cfg, tmp_path / "run")
    checkpoint = torch.load(trained.last, weights_only=True)
    for name, parameter in trained.segmenter.named_parameters():
        first, *later = (weights[name] for weights in trained.history.weights)
        average = first
        for step, value in enumerate(later, start=2):
            decay = (1 + step) / (10 + step)
            average = decay * average + (1 - decay) * value
        torch.testing.assert_close(checkpoint["state_dict"][name], average)
        torch.testing.assert_close(checkpoint["current_model_state"][name], trained.history.weights[-1][name])
        assert torch.equal(parameter, checkpoint["state_dict"][name])
    assert not all(
        torch.equal(checkpoint["state_dict"][name], checkpoint["current_model_state"][name])
        for name, _ in trained.segmenter.named_parameters()
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("scheduler=one_cycle", "epochs=-1"), r"trainer\.max_epochs.* got -1"),
        (("scheduler=cosine", "callbacks=gradient_accumulation"), r"total_steps .*got auto"),
        (("scheduler=cosine", "scheduler.scheduler.warmup=1"), r"warmup .*got 1"),
        (("+scheduler.scheduler.gama=3",), r"scheduler: .*'gama'"),
    ],
)
def test_invalid_schedules_raise(overrides: tuple[str, ...], message: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        train(compose_tiny(data, *overrides), tmp_path / "run")
