"""Decoding: from a model of the next symbol to whole sequences, batched and for every model alike."""
