"""Between the text of a recipe and its checked values: YAML with line numbers, short forms, refusals with places."""
