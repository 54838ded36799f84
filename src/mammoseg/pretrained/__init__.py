"""Pretrained models that are part of the package: lookup by name, and the models themselves in weights/."""
