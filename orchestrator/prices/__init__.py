"""What accelerators cost per hour, and what they can do: a packaged table, and the user's own lines over it."""
