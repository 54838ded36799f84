"""A static page to browse predictions image by image."""
