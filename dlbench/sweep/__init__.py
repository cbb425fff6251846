"""Many runs side by side: order, progress, failures, and one table at the end."""
