"""An installed hub for each test: real keys in files, a real database, nothing running."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.bootstrap import Installation
from hub.services.hub import Hub
from hub.services.manage_keys import KeyFolder
from tests.simulators.exchange import Exchange, referral_exchange
from tests.simulators.installation import copy_of, install


@pytest.fixture(scope="session")
def installed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed") / "hub"
    install(folder)
    return folder


@pytest.fixture
def installation(installed_once: Path, tmp_path: Path) -> Installation:
    return copy_of(installed_once, tmp_path / "hub")


@pytest.fixture
def hub(installation: Installation) -> Iterator[Hub]:
    with installation.open_hub() as opened:
        yield opened


@pytest.fixture
def folder(installation: Installation) -> KeyFolder:
    return installation.key_folder()


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Exchange]:
    """A hub whose keys are in memory and whose clock stands: quicker, where a test needs no key file."""
    made = Exchange(f"sqlite:///{tmp_path}/exchange.sqlite")
    yield made
    made.close()


@pytest.fixture
def referrals(store_url: str) -> Iterator[Exchange]:
    """A hub with agencies under the referral order, on each kind of database."""
    made = referral_exchange(store_url)
    yield made
    made.close()
