"""The words of errors that say memory is full; without torch, because the hub of a sweep reads them."""

FULL = "memory is full"  # the words for it in our own errors


def is_about_memory(text: str) -> bool:
    """Return whether the text of an error, perhaps of another process, says that memory was full."""
    return any(words in text for words in ("OutOfMemoryError", "can't allocate memory", FULL))
