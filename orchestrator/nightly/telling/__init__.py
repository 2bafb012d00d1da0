"""How a message gets to people: signed and posted to a webhook, or given to a program; and the record that it was."""
