from __future__ import annotations

from tests.api.conftest import agent, owner, platform_url, service, valkey

__all__ = ["agent", "owner", "platform_url", "service", "valkey"]
