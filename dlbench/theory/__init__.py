"""What the reports derive on paper, as functions that can be checked: it needs torch, numpy and scipy alone."""
