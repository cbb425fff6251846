"""Runs in TensorBoard: hyperparameters beside final metrics, readable names, one chart for a network's runs."""
