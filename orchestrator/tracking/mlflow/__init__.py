"""Shows a sweep in MLflow; the only package that imports MLflow."""
