"""A hub with its application: with one agency for access, with those of the referral order for messages."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.http_api.app import create_app
from tests.simulators.api_client import ApiClient
from tests.simulators.exchange import Exchange, referral_exchange


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Exchange]:
    made = Exchange(f"sqlite:///{tmp_path}/hub.sqlite")
    made.join("tw.npa")
    yield made
    made.close()


@pytest.fixture
def police(exchange: Exchange) -> ApiClient:
    return ApiClient(create_app(exchange.hub), exchange.agencies["tw.npa"])


class Referral:
    """The police send, a shelter and the immigration agency receive."""

    def __init__(self, exchange: Exchange) -> None:
        application = create_app(exchange.hub)
        self.exchange = exchange
        self.police = ApiClient(application, exchange.agencies["tw.npa"])
        self.shelter = ApiClient(application, exchange.agencies["tw.shelter.garden"])
        self.outsider = ApiClient(application, exchange.agencies["tw.taipei"])


@pytest.fixture
def referral(tmp_path: Path) -> Iterator[Referral]:
    made = referral_exchange(f"sqlite:///{tmp_path}/hub.sqlite")
    yield Referral(made)
    made.close()
