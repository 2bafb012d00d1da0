"""What several tests use: small models, sweeps, servers, and programs that tests start."""
