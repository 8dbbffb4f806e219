"""The layers hold, and a breach of each kind is noticed."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")

BREACHES = {
    "hub/domain/breach_layer.py": "import hub.policy\n",
    "hub/policy/breach_library.py": "import sqlalchemy\n",
    "hub/worker/breach_storage.py": "import hub.storage\n",
    "hub/services/breach_keys.py": "import cryptography\n",
    "hub/http_api/breach_bytes.py": "import lxml.etree\n",
    "hub/services/breach_http.py": "import httpx2\n",
    "hub/services/breach_web.py": "import flask\n",
    "hub/formats/breach_policy.py": "import hub.policy\n",
    "hub/cli/breach_connectors.py": "import connectors\n",
    "connectors/unplaced.py": "import hub.services\n",
    "hub/unplaced.py": "",
}


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [str(LINT_IMPORTS), "--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "200"}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)


def test_every_import_contract_is_kept() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_breach_of_each_import_contract_is_noticed(tmp_path: Path) -> None:
    for package in ("hub", "connectors"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in BREACHES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    result = lint_imports(tmp_path)
    broken = {line.removesuffix(" BROKEN") for line in result.stdout.splitlines() if line.endswith(" BROKEN")}
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    assert broken == {contract["name"] for contract in contracts}


def test_nothing_is_imported_in_a_way_that_the_contracts_cannot_see() -> None:
    dynamic = {"__import__", "exec", "eval"}
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for package in ("hub", "connectors")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name) and node.id in dynamic
    ]
    assert found == []
