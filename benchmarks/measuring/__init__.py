"""How arms are timed, compared and written down."""
