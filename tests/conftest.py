"""What holds for every test: long versions by `--soak`, heavy folders kept together, missing system packages named."""

import os
from collections.abc import Iterator

import hypothesis
import pytest

from tests.system_packages import MISSING

pytest_plugins = ["tests.databases"]

HEAVY_FOLDERS = frozenset({"end_to_end", "fault", "interop", "browser"})  # they start hubs: one module stays on one worker


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long versions of the tests that have one")


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.register_profile("test", deadline=None, derandomize=True, print_blob=True)
    hypothesis.settings.register_profile("soak", deadline=None, max_examples=10_000, print_blob=True)
    hypothesis.settings.load_profile("soak" if config.getoption("--soak") else "test")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        module = item.nodeid.partition("::")[0]
        if HEAVY_FOLDERS & set(module.split("/")):
            item.add_marker(pytest.mark.xdist_group(module))
    if not config.getoption("--soak"):
        long_ones = [item for item in items if item.get_closest_marker("soak")]
        config.hook.pytest_deselected(items=long_ones)
        items[:] = [item for item in items if item not in long_ones]


@pytest.fixture(scope="session")
def soak(request: pytest.FixtureRequest) -> bool:
    """True where a test should run its long version."""
    return bool(request.config.getoption("--soak"))


def not_covered(config: pytest.Config) -> list[str]:
    """Names and reasons of the tests that were skipped for want of a system package, sorted."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    reasons = [(report.nodeid, report.longrepr[2].removeprefix("Skipped: ")) for report in skipped]
    return sorted(f"{name}: {reason}" for name, reason in reasons if reason.startswith(MISSING))


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    on_a_worker = hasattr(session.config, "workerinput")
    if not on_a_worker and os.environ.get("CI") == "true" and not_covered(session.config) and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = not_covered(config)
    if lines:
        terminalreporter.section("not covered for want of a system package (a failure under CI=true)")
        terminalreporter.write_line("\n".join(lines))
