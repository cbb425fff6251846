"""Records of runs on disk."""
