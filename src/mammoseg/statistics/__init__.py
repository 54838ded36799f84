"""Statistical comparison of methods: bootstrap confidence intervals and significance tests."""
