"""Compare methods: tables, figures and significance tests."""
