"""What happens to rankings: candidates, windows, fusion, and evaluation."""
