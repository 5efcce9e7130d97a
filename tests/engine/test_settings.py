"""Settings: from the environment, from files, typed; a mistake names the variable and what was expected."""

from pathlib import Path

import pytest

from engine.errors import SettingInvalid
from engine.kpi import WINDOW_DAYS
from engine.settings import ARCHIVE_LEAST_DAYS, Settings, load_settings, shown


def test_everything_has_a_default() -> None:
    settings = load_settings({"HOME": "/root", "PATH": "/bin"})
    assert settings == Settings()
    assert settings.base_url == "http://127.0.0.1:8000"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "lotgate.toml"
    file.write_text('port = 9000\nhost = "::1"\ntimezone = "Europe/Berlin"\n')
    settings = load_settings({"LOTGATE_CONFIG": str(file), "LOTGATE_PORT": "9001"})
    assert settings.base_url == "http://[::1]:9001"
    assert settings.timezone == "Europe/Berlin"


def test_nothing_is_archived_that_business_numbers_look_at(tmp_path: Path) -> None:
    assert ARCHIVE_LEAST_DAYS > WINDOW_DAYS
    assert load_settings({"LOTGATE_ARCHIVE_AFTER_DAYS": "31"}).archive_after_days == 31
    with pytest.raises(SettingInvalid, match=r"LOTGATE_ARCHIVE_AFTER_DAYS is 30; .* at least 31"):
        load_settings({"LOTGATE_ARCHIVE_AFTER_DAYS": "30"})
    assert load_settings({"LOTGATE_HOME": "here"}).archive_folder == Path("here/archive")
    assert load_settings({"LOTGATE_ARCHIVE": str(tmp_path)}).archive_folder == tmp_path


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://u:geheim@db/lots\n")
    settings = load_settings({"LOTGATE_DATABASE_URL_FILE": str(secret)})
    assert settings.database_url == "postgresql://u:geheim@db/lots"
    assert "geheim" not in str(shown(settings))
    with pytest.raises(SettingInvalid, match="LOTGATE_API_KEY_FILE"):
        load_settings({"LOTGATE_API_KEY_FILE": str(tmp_path / "missing")})


def test_only_secrets_are_read_from_files(tmp_path: Path) -> None:
    file = tmp_path / "port"
    file.write_text("9000")
    assert load_settings({"LOTGATE_PORT_FILE": str(file)}).port == 8000


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LOTGATE_PORT", "0"), ("LOTGATE_PORT", "65536"), ("LOTGATE_PORT", "http"), ("LOTGATE_CHANNEL", "neither"),
        ("LOTGATE_TIMEZONE", "Mars/Olympus"), ("LOTGATE_WORKER_THREADS", "0"), ("LOTGATE_CONFIG", "/nowhere/x.toml"),
    ],
)  # fmt: skip
def test_a_wrong_value_names_its_variable(variable: str, value: str) -> None:
    with pytest.raises(SettingInvalid, match=variable):
        load_settings({variable: value})


def test_a_file_with_an_unknown_key_or_no_toml_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "lotgate.toml"
    file.write_text("prot = 9000\n")
    with pytest.raises(SettingInvalid, match="prot"):
        load_settings({"LOTGATE_CONFIG": str(file)})
    file.write_text("port: 9000\n")
    with pytest.raises(SettingInvalid, match="not TOML"):
        load_settings({"LOTGATE_CONFIG": str(file)})


def test_a_secret_is_not_in_the_message_about_it(tmp_path: Path) -> None:
    settings = load_settings({"LOTGATE_API_KEY": "topsecret"})
    assert "topsecret" not in str(shown(settings))


def test_targets_are_names_with_commas_between() -> None:
    settings = load_settings({"LOTGATE_TARGETS": "erp_berlin,erp_lyon , wms", "LOTGATE_URL_LYON": "http://lyon:1"})
    assert settings.target_names == ("erp_berlin", "erp_lyon", "wms")
    assert settings.urls == {"lyon": "http://lyon:1"}


@pytest.mark.parametrize("targets", ["", "erp,", "erp,erp", "ERP", "hook-1", "unrouted-erp", "erp wms"])
def test_targets_that_cannot_be_are_refused(targets: str) -> None:
    with pytest.raises(SettingInvalid, match="LOTGATE_TARGETS"):
        load_settings({"LOTGATE_TARGETS": targets})
