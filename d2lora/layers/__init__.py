"""N lanes of adapters over one frozen weight: the adapted layer, its rows, its thin factors, its dropout."""
