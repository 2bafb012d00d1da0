"""Shows the content of the run folders: in MLflow, or in memory in tests."""
