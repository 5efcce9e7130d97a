"""docs/connect-tryton.md is true: its commands run, in order, against a Tryton set up as it says."""

import re
import subprocess
from pathlib import Path

from tests.installation import ROOT, Installation
from tests.test_docs import Fence, as_pattern, fences
from tests.tryton.erp import Tryton

GUIDE = ROOT / "docs" / "connect-tryton.md"


def run(fence: Fence, tryton: Tryton, installation: Installation) -> str:
    """What the commands print."""
    code = fence.body.replace("http://127.0.0.1:8080/erp", tryton.url)
    done = subprocess.run(
        ["bash", "-e", "-c", f"TRYTON={tryton.url}\n{code}"], cwd=installation.directory, env=installation.environment,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_guide_connects_a_lot(tryton: Tryton, tmp_path: Path) -> None:
    tryton.call("res.user.application.delete", [one["id"] for one in tryton.find("res.user.application", [])])
    tryton.goods_in("L-1")
    settings = re.findall(r"LOTGATE_\w+", next(f.body for f in fences(GUIDE) if "export " in f.body))
    assert settings == ["LOTGATE_CONNECTORS", "LOTGATE_ERP_URL", "LOTGATE_SECRET_TRYTON_FILE"]
    installation = Installation(
        tmp_path, LOTGATE_CONNECTORS="my-connectors", LOTGATE_ERP_URL=tryton.url, LOTGATE_SECRET_TRYTON_FILE="tryton.key"
    )
    blocks = fences(GUIDE)
    try:
        for fence, after in zip(blocks, [*blocks[1:], None], strict=True):
            if fence.language != "sh":
                continue
            if fence.body.strip() == "lotgate up":
                installation.start()
                continue
            printed = run(fence, tryton, installation)
            if "user/application" in fence.body:
                tryton.grant_keys()
            if after is not None and "output" in after.words:
                assert re.search(as_pattern(after.body), re.sub(r"\s", "", printed), re.DOTALL), printed
        assert tryton.stock("L-1") == {"AVAILABLE": 100}
    finally:
        installation.end()
