"""Inference on new mammograms: masks, tables and DICOM Segmentations."""
