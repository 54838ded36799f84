"""Networks: image (B, 1, H, W) -> logits (B, 1, H, W). No loss, no sigmoid, no Lightning."""
