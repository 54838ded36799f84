"""Test a checkpoint again."""
