"""Settings are read strictly, with safe defaults and paths that do not depend on where the program is started."""

from datetime import timedelta
from pathlib import Path

import pytest

from hub.settings import CONFIG_VARIABLE, Settings, SettingsError, environment_with, load_settings

LEAST = '[hub]\nname = "hub.example.org/accord"\nissuer = "https://hub.example.org"\n'


def load(folder: Path, text: str) -> Settings:
    file = folder / "config" / "hub.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return load_settings(file)


def test_two_settings_are_enough(tmp_path: Path) -> None:
    settings = load(tmp_path, LEAST)
    assert settings.hub.name == "hub.example.org/accord"
    assert settings.limits.max_envelope_bytes == 10 * 1024 * 1024


def test_a_relative_path_starts_above_the_folder_of_the_settings_file(tmp_path: Path) -> None:
    settings = load(tmp_path, LEAST + '[keys]\nfolder = "secret"\n')
    assert settings.keys.folder == tmp_path / "secret"
    assert settings.keys.passphrase_file == tmp_path / "keys" / "passphrase"
    assert settings.database.url == f"sqlite:///{tmp_path}/var/hub.sqlite"


def test_an_absolute_path_and_another_database_stay_as_they_are(tmp_path: Path) -> None:
    settings = load(tmp_path, LEAST + '[database]\nurl = "postgresql+psycopg://hub@db/hub"\n[keys]\nfolder = "/etc/keys"\n')
    assert settings.database.url == "postgresql+psycopg://hub@db/hub"
    assert settings.keys.folder == Path("/etc/keys")


def test_a_duration_is_given_in_seconds(tmp_path: Path) -> None:
    assert load(tmp_path, LEAST + "[limits]\nmax_issued_ahead_seconds = 60\n").limits.max_issued_ahead == timedelta(minutes=1)


def test_the_hosts_that_may_be_pushed_to_stand_in_the_limits(tmp_path: Path) -> None:
    settings = load(tmp_path, LEAST + '[push]\nallowed_hosts = ["partner.example.jp"]\n')
    assert settings.limits.push_allowed_hosts == {"partner.example.jp"}


def test_by_default_nothing_may_be_pushed_anywhere(tmp_path: Path) -> None:
    assert load(tmp_path, LEAST).limits.push_allowed_hosts == frozenset()


def test_by_default_the_clock_cannot_be_moved(tmp_path: Path) -> None:
    assert load(tmp_path, LEAST).demonstration.clock_offset_file is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[hub]\nname = 'hub.example.org'\n", "hub.issuer: is missing"),
        (LEAST + "[hubb]\n", "[hubb]: is not a section"),
        (LEAST + "[server]\nport = 1\n", "server.port: is not a setting"),
        (LEAST + "[limits]\npush_allowed_hosts = []\n", "limits.push_allowed_hosts: is not a setting"),
        (LEAST + "[server]\nworkers = '2'\n", "server.workers: is not of the kind"),
        (LEAST + "[server]\nworkers = 0\n", "server.workers: is not of the kind"),
        (LEAST + "[server]\nworkers = true\n", "server.workers: is not of the kind"),
        (LEAST + "[log]\njson = 1\n", "log.json: is not of the kind"),
        (LEAST + "[log]\nlevel = 'loud'\n", "log.level: is none of"),
        (LEAST + "[push]\nallowed_hosts = [1]\n", "push.allowed_hosts: is not of the kind"),
        (LEAST + "[demonstration]\nenabled = true\n", "demonstration: a clock offset file"),
        (LEAST + "[demonstration]\nclock_offset_file = 'x'\n", "demonstration: a clock offset file"),
        (LEAST.replace("https:", "http:"), "hub.issuer: must be an https address"),
        (LEAST.replace('org"\n', 'org/"\n'), "hub.issuer: must be an https address"),
        (LEAST.replace("hub.example.org/accord", "hub accord"), "hub.name: must be"),
        ("[hub\n", "is not TOML"),
    ],
)
def test_whatever_is_not_right_is_named(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    assert place in str(caught.value)


def test_a_file_that_is_not_there_is_named_with_the_way_to_another(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="ACCORD_CONFIG or --config"):
        load_settings(tmp_path / "none.toml")


def test_plain_http_is_good_enough_on_this_machine(tmp_path: Path) -> None:
    text = LEAST.replace("https://hub.example.org", "http://127.0.0.1:8440")
    assert load(tmp_path, text).hub.issuer == "http://127.0.0.1:8440"


def test_a_child_process_is_given_the_same_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(tmp_path, LEAST)
    monkeypatch.setenv(CONFIG_VARIABLE, environment_with(settings.file)[CONFIG_VARIABLE])
    assert load_settings() == settings
