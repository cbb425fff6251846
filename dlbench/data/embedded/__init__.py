"""Generators of drawn stand-ins, for machines without the real data."""
