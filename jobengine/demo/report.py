"""Prints the demo's result for people."""

from __future__ import annotations

from typing import Any

from jobengine.demo.proof import Result


def print_result(result: Result) -> None:
    """Print the figures, then each proof with its outcome."""
    figures = result.figures
    print(f"""
files      {figures["files"]} in {figures["folders"]} folders, {figures["bytes"]:,} bytes
failed     {figures["failed"]} {figures["errors"] or ""}
killed     {figures["kills"]} workers, with SIGKILL, while they held jobs
claims     {figures["claims"]}, of which {figures["retries"]} retries
rate       {figures["jobs_per_second"]} jobs/s in {figures["seconds"]} s
waited     {_percentiles(figures["wait_ms"])}
ran        {_percentiles(figures["run_ms"])}
""")
    for proof, holds in result.proofs.items():
        print(f"{'proved' if holds else 'FAILED'}  {proof}")
    for line in result.wrong:
        print(f"        {line}")


def _percentiles(values: dict[str, Any]) -> str:
    return "  ".join(f"{name} {value} ms" for name, value in values.items())
