"""Comparison of methods: tables, figures and significance tests."""
