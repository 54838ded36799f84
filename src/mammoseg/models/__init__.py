"""Networks that map images (B, 1, H, W) to logits (B, 1, H, W), as plain PyTorch modules without a sigmoid."""
