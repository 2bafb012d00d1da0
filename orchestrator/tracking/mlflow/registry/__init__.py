"""MLflow's registry: champions as models that MLflow itself opens, each the model of one sweep's folder."""
