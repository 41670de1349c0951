"""What `synth`, `train` and `benchmarks` share: settings in YAML and HTML pages."""
