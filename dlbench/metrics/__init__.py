"""Metrics of sequences, as torchmetrics classes."""
