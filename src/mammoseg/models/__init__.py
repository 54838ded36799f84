"""Segmentation networks: PyTorch modules that map images (B, 1, H, W) to logits (B, 1, H, W)."""
