"""Text files of the terminal: UTF-16 mostly, by whichever build wrote them."""

from __future__ import annotations

import codecs


def decoded(content: bytes) -> str:
    """Decode by the mark at the beginning, else by zero bytes, else as UTF-8; never fails."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    if b"\0" in content[:64]:
        return content.decode("utf-16-le", errors="replace")
    return content.decode("utf-8-sig", errors="replace")
