"""The repository has the shape that its README and its rules say."""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOP_LEVEL = {
    *("hub", "connectors", "schemas", "keys", "config", "tests", "bench", "docs", "requirements"),
    *("wsgi.py", "pyproject.toml", "Makefile", "README.md", "CHANGELOG.md"),
}
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}
LONGEST_BODY_LINES = 50
LONGEST_MODULE_LINES = 500
BUDGET_CODE_LINES = {"hub": 12_000, "connectors": 4_000}  # docs/decisions/0018-size-budget.md says what counts
NOT_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
    *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER),
}
IGNORE = re.compile(r"#\s*(?:noqa|type:\s*ignore)\b(?P<rest>.*)")
CODES_AND_REASON = re.compile(r"(?:: ?[A-Z]+\d+(?:, ?[A-Z]+\d+)*|\[[a-z, -]+\])\s+(?:#|-|:)\s*\S.{7,}")


def tracked_files(*patterns: str) -> list[str]:
    listing = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listing.stdout.split("\0") if name]


def modules() -> Iterator[tuple[str, str]]:
    for package in BUDGET_CODE_LINES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    statements = function.body[1:] if ast.get_docstring(function) and function.body[1:] else function.body
    return (statements[-1].end_lineno or 0) - statements[0].lineno + 1


def code_lines(text: str) -> int:
    """Lines that hold code: docstrings, comments and blank lines left out."""
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in NOT_CODE]
    lines = {number for token in tokens for number in range(token.start[0], token.end[0] + 1)}
    documentation = {
        number
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    return len(lines - documentation)


def test_the_top_level_holds_what_the_house_rules_list_and_nothing_else() -> None:
    names = {name.split("/")[0] for name in tracked_files()}
    assert {name for name in names if not name.startswith(".")} == TOP_LEVEL


def test_no_module_is_longer_than_the_house_allows() -> None:
    lengths = {name: text.count("\n") for name, text in modules()}
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE_LINES} == {}


def test_no_function_body_is_longer_than_the_house_allows() -> None:
    too_long = [
        f"{name}:{node.lineno} {node.name}: {body_lines(node)} lines"
        for name, text in modules()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body_lines(node) > LONGEST_BODY_LINES
    ]
    assert too_long == []


def test_the_packages_stay_within_their_budget() -> None:
    totals = dict.fromkeys(BUDGET_CODE_LINES, 0)
    for name, text in modules():
        totals[name.split("/")[0]] += code_lines(text)
    assert {package: total for package, total in totals.items() if not 0 < total <= BUDGET_CODE_LINES[package]} == {}


def test_what_is_no_code_is_not_counted_and_all_code_is() -> None:
    documented = '"""Says\nwhat."""\n\n# why\nx = """two\nlines"""  # beside\n'
    function = 'def f() -> None:\n    """Does."""\n    g(\n        1\n    )\n'
    assert (code_lines(documented), code_lines(function)) == (2, 4)


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [name for name, _ in modules() if VAGUE_NAMES & set(Path(name).with_suffix("").parts)] == []


def test_every_ignored_rule_names_its_code_and_its_reason() -> None:
    bare = [
        f"{name}:{number}"
        for name in tracked_files("*.py")
        if name != "tests/architecture/test_house.py"
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), start=1)
        if (ignored := IGNORE.search(line)) and not CODES_AND_REASON.match(ignored["rest"])
    ]
    assert bare == []


def test_no_lock_file_names_a_registry() -> None:
    locks = [*tracked_files("requirements/*"), "tests/interop/package-lock.json"]
    source = re.compile(r"--(?:extra-)?index-url|--find-links|\"resolved\"|@ ?https?:|pypi|npmjs", re.IGNORECASE)
    assert [name for name in locks if source.search((ROOT / name).read_text(encoding="utf-8"))] == []


def test_every_locked_dependency_has_a_hash() -> None:
    for lock in ("requirements/runtime.txt", "requirements/dev.txt"):
        entries = re.findall(r"^[a-z].*\n(?: +--hash=.*\n)*", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE)
        assert entries
        assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_what_runs_is_locked_to_the_same_versions_as_what_is_tested() -> None:
    pin = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)
    running, tested = (
        set(pin.findall((ROOT / "requirements" / name).read_text(encoding="utf-8"))) for name in ("runtime.txt", "dev.txt")
    )
    assert running - tested == set()


def test_no_private_key_is_tracked() -> None:
    assert [name for name in tracked_files("keys", "config", "hub", "connectors") if name.endswith((".seed", ".key"))] == []
    search = ["git", "grep", "-lE", "^-----BEGIN .*PRIVATE KEY-----", "--", ":!tests/vectors"]
    found = subprocess.run(search, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (1, "")
