"""Image files: pixels, masks and metadata."""
