"""Ablations: train and measure variants, with error bars over seeds."""
