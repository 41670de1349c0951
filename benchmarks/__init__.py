"""Quality and speed, measured (installed as `limrank_ir.benchmarks`)."""
