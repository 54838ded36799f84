"""Paths in checkpoints are stored relative to the run folder."""

from __future__ import annotations

from mammoseg.callbacks.provenance import replace_prefix


def test_replace_prefix_is_inverted_by_the_opposite_prefixes() -> None:
    state = {"ModelCheckpoint": {"best_model_path": "/a/run/checkpoints/best.ckpt", "kth": {"/a/run/b": 1.0}}}
    stored = replace_prefix(state, "/a/run/", "run:/")
    assert stored == {"ModelCheckpoint": {"best_model_path": "run:/checkpoints/best.ckpt", "kth": {"run:/b": 1.0}}}
    assert replace_prefix(stored, "run:/", "/a/run/") == state
