"""Reading of image files: pixels, masks and metadata."""
