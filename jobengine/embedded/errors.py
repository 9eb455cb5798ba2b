from jobengine.errors import EngineError


class EmbeddedError(EngineError):
    """The embedded server cannot be started, joined or stopped; the message says what to do."""
