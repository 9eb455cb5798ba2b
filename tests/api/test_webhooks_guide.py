"""docs/webhooks.md as it stands, by somebody who has `python -m api up` and a shell."""

from __future__ import annotations

import subprocess

from tests.acceptance.test_guide import blocks
from tests.api.test_guide import ROOT, up_in
from tests.api.world import server_folder

PAGE = ROOT / "docs" / "webhooks.md"


def test_the_examples_work_in_their_order() -> None:
    marks, script = [], ["set -euo pipefail"]
    for language, text in blocks(PAGE):
        if language == "sh":
            script += [text, "echo; echo '--8<--'"]
            marks.append("")
        elif language == "text":
            marks[-1] = text.strip()
    with server_folder() as folder, up_in(folder) as up:
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=folder,
            env={**up.environment, "API": up.address},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert [part.strip() for part in done.stdout.split("--8<--")[:-1]] == marks
