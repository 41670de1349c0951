"""Shared by `synth`, `train`, and `benchmarks`: YAML settings and HTML pages."""
