"""What is measured of a trained model, one module a task."""
