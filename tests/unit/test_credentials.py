"""What of the settings and the environment is secret is known before anything is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import pytest

from app.base.errors import SettingsError
from app.base.redaction import redact
from app.settings.loading import load_settings
from tests.canaries import shown_in


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text("microshare: {}\n")
    return file


def read(config_file: Path, environ: Mapping[str, str]) -> str:
    """Load settings that lack all that is needed, and give what is said."""
    with pytest.raises(SettingsError) as caught:
        load_settings(environ, config_file=config_file)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("HTTPS_PROXY", "http://svc:{}@proxy.example.test:3128", "canary+https&1"),
        ("http_proxy", "http://svc:{}@proxy.example.test:3128", "canary/slash#2"),
        ("ALL_PROXY", "svc:{}@proxy.example.test:3128", "canary[bracket?3"),
        ("READINGS_URL", "https://{}@readings.example.test/today", "canary-token-4"),
        ("AZURE_CLIENT_SECRET", "{}", "canary~secret.5"),
        ("AZURE_CLIENT_CERTIFICATE_PASSWORD", "{}", "canary pass 6"),
        ("IDENTITY_HEADER", "{}", "CANARY-HEADER-7"),
        ("MSI_SECRET", "{}", "CANARY-MSI-8"),
        ("WEBSITE_AUTH_ENCRYPTION_KEY", "{}", "CANARYKEY9"),
        ("GITHUB_TOKEN", "{}", "canary_token_10"),
        ("PGPASSWORD", "{}", "canary%41%11"),
        ("AzureWebJobsStorage", "DefaultEndpointsProtocol=https;AccountName=a;AccountKey={}", "Y2FuYXJ5LTEy"),
        ("WEBSITE_CONTENTAZUREFILECONNECTIONSTRING", "AccountName=a;AccountKey={};x=y", "Y2FuYXJ5LTEz"),
        ("BLOB_URL", "https://a.example.test/c?sv=1&sig={}&se=2", "Y2FuYXJ5LTE0"),
        (
            "APPLICATIONINSIGHTS_CONNECTION_STRING",
            "InstrumentationKey={};IngestionEndpoint=https://x.example.test/",
            "0bad0bad-0000-4000-8000-00000canary5",
        ),
    ],
)
@pytest.mark.parametrize("where", ["environment", ".env"])
def test_what_the_environment_holds_for_libraries_is_known(
    config_file: Path, name: str, value: str, secret: str, where: str
) -> None:
    # Not the secret of the other place, which is known for good.
    secret += where[-3:]
    written = value.format(secret)
    if where == ".env":
        (config_file.parent / ".env").write_text(f"{name}='{written}'\n")

    said = read(config_file, {} if where == ".env" else {name: written})

    assert shown_in(said, [secret]) == []
    assert redact(f"(({secret} {quote(secret, safe='')}))") == "((*** ***))"


def test_a_password_of_a_proxy_is_known_as_it_is_and_as_the_proxy_gets_it(config_file: Path) -> None:
    read(config_file, {"HTTPS_PROXY": "http://svc:canary%2Bproxy%26word@proxy.example.test:3128"})

    assert redact("canary%2Bproxy%26word, canary+proxy&word") == "***, ***"


@pytest.mark.parametrize("name", ["PWD", "OLDPWD", "AZURE_FEDERATED_TOKEN_FILE", "TOKENIZERS_PARALLELISM"])
def test_a_folder_a_file_or_a_switch_is_no_secret(config_file: Path, name: str) -> None:
    read(config_file, {name: "/srv/some/folder"})

    assert redact("in /srv/some/folder") == "in /srv/some/folder"


def test_a_switch_that_is_called_like_a_secret_masks_no_word(config_file: Path) -> None:
    read(config_file, {"SOME_TOKEN": "false"})

    assert redact("is false") == "is false"


@pytest.mark.parametrize(
    "written",
    ["Q0FOQVJZLWtleS10aGF0LW9wZW5zLW5vdGhpbmc=", "Q0FOQVJZLWtleS10aGF0LW9wZW5zLW5vdGhpbmdZ"],
    ids=["padded", "without padding"],
)
@pytest.mark.parametrize("form", ["{}", '["{}"]', "{};EntityPath=a", "{}=x"])
def test_a_key_in_the_place_of_a_connection_string_is_not_told(
    tmp_path: Path, written: str, form: str
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("event_hubs:\n  primary: ${EVENT_HUB_CONNECTION_STRING:-}\n  others: ${OTHERS:-}\n")
    name = "OTHERS" if form.startswith("[") else "EVENT_HUB_CONNECTION_STRING"

    said = read(file, {name: form.format(written)})

    assert name in said
    assert written.rstrip("=") not in said
