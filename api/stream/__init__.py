"""The live prices of a user's own agent, over WebSocket (`docs/price-stream.md`).

A price comes from Redis once per process and is encoded once, as a whole frame. It is written at
once to every client whose connection takes it; for the others it waits in a slot per instrument,
where the next price takes its place. So a client that does not read costs a bounded amount of
memory, delays nobody, and is cut off.

    endpoint   one connection: who it is, what it asks for
    viewers    whose prices a user sees
    manager    who watches what: connect, disconnect, broadcast
    reader     the process's one subscription in Redis
    client     the slots of one connection
    protocol   uvicorn's connection, with the few things that ASGI does not offer
"""

from api.stream.endpoint import ROUTE
from api.stream.manager import Topic, WebSocketManager
from api.stream.stream import PriceStream

__all__ = ["ROUTE", "PriceStream", "Topic", "WebSocketManager"]
