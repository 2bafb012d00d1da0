"""What a sweep would take in memory, arithmetic, time and money, and what its seeds can show; starts nothing."""
