"""Shared by the workshops (`synth`, `train`, `benchmarks`), the demo, and the server: YAML settings and HTML pages."""
