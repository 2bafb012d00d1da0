"""N lanes of adapters over one frozen weight."""
