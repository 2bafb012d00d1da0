"""MLflow's database: a local file, its schema, and what may be asked of it without a change."""
