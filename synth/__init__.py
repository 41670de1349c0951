"""LIMRANK-SYNTHESIZER: a pipeline that makes training data (installed as `limrank_ir.synth`)."""
