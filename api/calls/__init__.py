"""One function per SQL function of the platform: the same name, the same arguments, its rows.

The contract of each is the header of `sql/platform/functions/<name>.sql`. There is no other SQL in
the service; who may do what is decided by the transaction's role (`api.database`).
"""

from __future__ import annotations

from api.calls.account import (
    broker_connection_create,
    broker_connection_delete,
    broker_connection_list,
    broker_connection_update,
    onboarding_complete,
    settings_get,
    settings_update,
    user_add,
    user_find,
)
from api.calls.agents import (
    agent_credentials,
    agent_heartbeat,
    agent_list,
    agent_pair,
    agent_queues,
    agent_revoke,
    agent_rotate_key,
    agent_seen,
    agent_set_digest,
    agent_status,
)
from api.calls.jobs import agent_claim, agent_start, job_cancel, job_create, job_get, job_list
from api.calls.trading import (
    deals_report,
    order_create,
    order_events,
    order_get,
    order_list,
    position_close,
    read_create,
    trading_agent,
)

__all__ = [
    "agent_claim",
    "agent_credentials",
    "agent_heartbeat",
    "agent_list",
    "agent_pair",
    "agent_queues",
    "agent_revoke",
    "agent_rotate_key",
    "agent_seen",
    "agent_set_digest",
    "agent_start",
    "agent_status",
    "broker_connection_create",
    "broker_connection_delete",
    "broker_connection_list",
    "broker_connection_update",
    "deals_report",
    "job_cancel",
    "job_create",
    "job_get",
    "job_list",
    "onboarding_complete",
    "order_create",
    "order_events",
    "order_get",
    "order_list",
    "position_close",
    "read_create",
    "settings_get",
    "settings_update",
    "trading_agent",
    "user_add",
    "user_find",
]
