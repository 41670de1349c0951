"""Rankings: candidates, windows, fusion, and evaluation."""
