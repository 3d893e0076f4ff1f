"""Settings: every row from every source, in the order that is promised, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from eventdemo.engines.registry import file_of
from eventdemo.errors import Misconfigured
from eventdemo.settings import SETTINGS, Setting, Settings, is_loopback

TOKEN = {"EVENTDEMO_OPERATOR_TOKEN": "sixteen-letters-"}

#: For each setting three values that differ from its default and from each other.
EXAMPLES: dict[str, tuple[Any, Any, Any]] = {
    "host": ("::1", "localhost", "127.0.0.2"),
    "port": (1, 8080, 65_535),
    "url": ("http://a", "https://b:1/shop", "http://[::1]:2"),
    "data": ("a", "/b/c", "./d e"),
    "event_pool": ("sqlite:///a.db", "sqlite:////b/c.db", "dynamodb://shop-events"),
    "topics": ("sqlite:///a.db", "sqlite:////b/c.db", "sqlite:///d e.db"),
    "session_cache": ("sqlite:///a.db", "dynamodb://shop.session", "rediss://:pw@cache:6379/1"),
    "operator_token": ("a", "b!~", "c"),
    "max_waiting": (1, 2, 3),
    "max_body_bytes": (64, 65, 66),
    "max_head_bytes": (1_024, 1_025, 1_026),
    "max_connections": (1, 2, 3),
    "client_timeout_s": (1, 2, 3),
    "rate_limit": (1, 2, 3),
    "rate_burst": (1, 2, 3),
    "trusted_proxies": ("::1", "10.0.0.0/8", "10.0.0.1, ::1"),
    "allowed_origins": ("https://a.example", "http://[::1]:3000", "http://a,https://b:8443"),
    "message_retention_s": (1, 2, 3),
    "push_topic": ("arn:aws:sns:eu-central-1:123456789012:shop-wake", "b", "c"),
    "push_listen": ("127.0.0.1:8080", "[::1]:1", "localhost:65535"),
    "log_level": ("debug", "warning", "error"),
}

each_setting = pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)


def load(
    tmp_path: Path,
    options: dict[str, object] | None = None,
    environ: dict[str, str] | None = None,
    toml: str | None = None,
) -> Settings:
    path = tmp_path / "eventdemo.toml"
    if toml is not None:
        path.write_text(toml, encoding="utf-8")
    return Settings.load(options or {}, environ or {}, path)


def in_toml(setting: Setting, value: object) -> str:
    return f"{setting.toml} = {value}" if isinstance(value, int) else f'{setting.toml} = "{value}"'


def value_of(settings: Settings, setting: Setting) -> object:
    value = getattr(settings, setting.name)
    return str(value) if isinstance(value, Path) else value


def test_the_table_has_a_row_for_every_setting_and_the_examples_too() -> None:
    names = {setting.name for setting in SETTINGS}
    assert names == set(Settings.__struct_fields__) == set(EXAMPLES)


def test_the_table_tells_the_defaults_that_hold() -> None:
    defaults = Settings()
    for setting in SETTINGS:
        value = value_of(defaults, setting)
        if setting.default == "SQLite in the data folder":
            assert value == "sqlite:///eventdemo-data/eventdemo.db"
        else:
            assert value is None or setting.default == str(value)


@each_setting
def test_an_option_beats_the_environment_which_beats_the_file(
    tmp_path: Path, setting: Setting
) -> None:
    low, middle, high = EXAMPLES[setting.name]
    toml, environ = in_toml(setting, low), {setting.environment: str(middle)}
    options: dict[str, object] = {setting.name: str(high)}
    expected = [Path(v) if setting.name == "data" else v for v in (low, middle, high)]
    found = [
        load(tmp_path, toml=toml),
        load(tmp_path, environ=environ, toml=toml),
        load(tmp_path, options, environ, toml),
    ]
    assert [getattr(settings, setting.name) for settings in found] == expected


def test_what_nobody_sets_keeps_its_default(tmp_path: Path) -> None:
    options: dict[str, object] = {"port": None, "not a setting": "x"}
    assert load(tmp_path, options, {"EVENTDEMO_PORT": ""}) == Settings()


@each_setting
def test_settings_reach_another_process_through_the_environment(
    tmp_path: Path, setting: Setting
) -> None:
    here = load(tmp_path, {setting.name: str(EXAMPLES[setting.name][0])})
    assert load(tmp_path, environ=here.environment()) == here


def test_urls_follow_the_data_folder_unless_they_are_set(tmp_path: Path) -> None:
    settings = load(tmp_path, {"data": "/var/shop", "topics": "sqlite:///t.db"})
    assert settings.event_pool == settings.session_cache == "sqlite:////var/shop/eventdemo.db"
    assert settings.topics == "sqlite:///t.db"
    assert settings.read_models == Path("/var/shop/readmodels")
    assert file_of(settings.event_pool) == Path("/var/shop/eventdemo.db")
    assert file_of(settings.topics) == Path("t.db")


@pytest.mark.parametrize("port", ["0", "-1", "65536", "http", "80.5", "8_0 0", "9" * 5_000])
def test_a_port_out_of_range_is_refused_with_its_source(tmp_path: Path, port: str) -> None:
    with pytest.raises(Misconfigured, match=r"^--port must be a whole number from 1 to 65535, "):
        load(tmp_path, {"port": port})
    with pytest.raises(Misconfigured, match=r"^EVENTDEMO_PORT must be"):
        load(tmp_path, environ={"EVENTDEMO_PORT": port})


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("prot = 1", "has no setting 'prot': did you mean port?"),
        ("colour = 1", "has no setting 'colour': there are host, port, url, data"),
        ('url = "shop.example"', "must be like http://127.0.0.1:8000, not 'shop.example'"),
        ("port = 70000", "port in .*eventdemo.toml must be a whole number from 1 to 65535"),
        ('port = "8000"', "port in .*eventdemo.toml must be a number without quotes"),
        ("port = 80.0", "must be a whole number"),
        ("port = true", "must be a whole number"),
        ("host = 1", "host in .*eventdemo.toml must be a text"),
        ("data = []", "data in .*eventdemo.toml must be a text"),
        ('host = ""', "must be a text that is not empty"),
        ("[host]\nname = 1", "must be a text"),
        ('log-level = "loud"', "must be one of debug, info, warning, error, not 'loud'"),
        ('operator-token = "two words"', "visible ASCII characters without spaces"),
        (
            'trusted-proxies = "10.0.0.1/8"',
            "must be addresses or networks like 10.0.0.0/8,::1, not",
        ),
        ('trusted-proxies = "proxy.example"', "must be addresses or networks"),
        ("port = ", "cannot be read: "),
        ("port = 1\nport = 2", "cannot be read: "),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, toml: str, message: str) -> None:
    with pytest.raises(Misconfigured, match=message) as refused:
        load(tmp_path, toml=toml)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "eventdemo.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(Misconfigured, match=r"eventdemo\.toml cannot be read"):
        load(tmp_path)
    with pytest.raises(Misconfigured, match="cannot be read: Is a directory"):
        Settings.load({}, {}, tmp_path)


SUPPORTED = {
    "event_pool": "dynamodb://TABLE",
    "topics": "aws://PREFIX (a letter, then up to 29 letters, digits, dashes)",
    "session_cache": "dynamodb://TABLE, redis://HOST:PORT/NUMBER, rediss://HOST:PORT/NUMBER",
}


@pytest.mark.parametrize("name", SUPPORTED)
@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("dynamodb://", "dynamodb://…"),
        ("aws://a prefix", "aws://…"),
        ("aws://", "aws://…"),
        ("sqlite:///.", "sqlite://…"),
        ("postgresql://shop:hunter2@db/shop", "postgresql://…"),
        ("mongodb://db", "mongodb://…"),
        ("sqlite:///", "sqlite://…"),
        ("sqlite://relative.db", "sqlite://…"),
        ("eventdemo.db", "'eventdemo.db'"),
    ],
)
def test_an_unsupported_url_is_told_which_are_and_keeps_its_password(
    tmp_path: Path, name: str, url: str, shown: str
) -> None:
    with pytest.raises(Misconfigured) as refused:
        load(tmp_path, {name: url})
    assert str(refused.value) == (
        f"--{name.replace('_', '-')} can be sqlite:///relative/path, "
        f"sqlite:////absolute/path, {SUPPORTED[name]}, not {shown}"
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "shop.example", "128.0.0.1"])
def test_a_host_beyond_loopback_needs_an_operator_token(tmp_path: Path, host: str) -> None:
    with pytest.raises(Misconfigured, match=r"EVENTDEMO_OPERATOR_TOKEN"):
        load(tmp_path, {"host": host})
    assert load(tmp_path, {"host": host}, TOKEN).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "[::1]", "localhost"])
def test_loopback_needs_none(tmp_path: Path, host: str) -> None:
    assert is_loopback(load(tmp_path, {"host": host}).host)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("[::1]", "http://[::1]:8000"),
        ("shop.example", "http://shop.example:8000"),
    ],
)
def test_clients_are_told_an_address_that_answers(tmp_path: Path, host: str, url: str) -> None:
    settings = load(tmp_path, {"host": host}, TOKEN)
    assert settings.api_url == settings.local_url == url


def test_clients_call_the_url_that_is_set_and_the_server_listens_where_it_did(
    tmp_path: Path,
) -> None:
    settings = load(tmp_path, environ={"EVENTDEMO_URL": "https://shop.example/"})
    assert settings.api_url == "https://shop.example"
    assert settings.local_url == "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    "url",
    ["shop", "ftp://shop", "http://", "http://a:99999", "http://a:0", "http://a?b", "http://ü"],
)
def test_a_url_that_is_none_of_an_api_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(Misconfigured, match=r"^EVENTDEMO_URL must be like http://127"):
        load(tmp_path, environ={"EVENTDEMO_URL": url})


@pytest.mark.parametrize(
    ("name", "says"),
    [("EVENTDEMO_PROT", "did you mean EVENTDEMO_PORT?"), ("EVENTDEMO_XYZ", "there are EVENTDEMO_")],
)
def test_a_variable_that_names_no_setting_is_refused(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        load(tmp_path, environ={name: "1"})
    assert str(refused.value).startswith(f"{name} in the environment is no setting: {says}")
    assert load(tmp_path, environ={name: "", "EVENTDEMO_SERVICE": "stock_check"}) == Settings()


def test_a_token_that_can_be_guessed_is_refused_beyond_loopback(tmp_path: Path) -> None:
    short = {"EVENTDEMO_OPERATOR_TOKEN": "fifteen-letters"}
    assert load(tmp_path, {"host": "::1"}, short).operator_token == "fifteen-letters"
    with pytest.raises(Misconfigured, match=r"guess EVENTDEMO_OPERATOR_TOKEN: .* 16") as refused:
        load(tmp_path, {"host": "0.0.0.0"}, short)
    assert "fifteen" not in str(refused.value)
    with pytest.raises(Misconfigured, match=r"guess operator-token in .*eventdemo\.toml"):
        load(tmp_path, {"host": "0.0.0.0"}, toml='operator-token = "short"')


def test_where_a_value_comes_from_is_known(tmp_path: Path) -> None:
    path = tmp_path / "eventdemo.toml"
    path.write_text("port = 1\nrate-limit = 2\n")
    environ = {"EVENTDEMO_RATE_LIMIT": "3"}
    _, sources = Settings.load_with_sources({"data": "x"}, environ, path)
    assert sources == {
        "port": f"port in {path}",
        "data": "--data",
        "rate_limit": "EVENTDEMO_RATE_LIMIT",
    }


def test_a_token_is_never_an_option_nor_in_a_message(tmp_path: Path) -> None:
    (row,) = [setting for setting in SETTINGS if setting.name == "operator_token"]
    assert row.option is None
    with pytest.raises(Misconfigured) as refused:
        load(tmp_path, environ={"EVENTDEMO_OPERATOR_TOKEN": "hunter 2"})
    assert "hunter" not in str(refused.value)


@pytest.mark.parametrize("forgotten", ["event_pool", "session_cache"])
def test_topics_on_aws_with_a_part_in_a_file_are_refused(tmp_path: Path, forgotten: str) -> None:
    urls: dict[str, object] = {
        "topics": "aws://shop",
        "event_pool": "dynamodb://shop-events",
        "session_cache": "rediss://cache:6379/0",
    }
    assert load(tmp_path, urls).topics == "aws://shop"
    del urls[forgotten]
    with pytest.raises(Misconfigured, match=f"set EVENTDEMO_{forgotten.upper()}"):
        load(tmp_path, urls)
