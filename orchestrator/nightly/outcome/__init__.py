"""What a night leaves for people and programs: night.json, from its verdict, its measurements and its files."""
