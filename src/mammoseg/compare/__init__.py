"""Compare methods: tables, figures and statistical tests."""
