class EmbeddedError(RuntimeError):
    """The embedded server cannot be started, joined or stopped; the message says what to do."""
