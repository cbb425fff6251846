"""Published results beside ours."""
