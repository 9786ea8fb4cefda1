"""What `infra/` makes is what the app needs: settings, roles, alerts; and nothing that its plan refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.base.program import APP_ROOT
from app.settings.loading import load_settings
from app.settings.network import VARIABLES as NETWORK
from app.settings.scale_out import CONNECTION, POISON, QUEUE
from app.settings.schema import Settings
from app.settings.sources import read_document
from tools.bicep import ROLES, body_of, names_in, parse

INFRA = APP_ROOT / "infra"
MAIN = parse(INFRA / "main.bicep")
MODULES = {path.stem: parse(path) for path in sorted((INFRA / "modules").glob("*.bicep"))}
EVERYTHING = "".join(file.text for file in (MAIN, *MODULES.values()))
PARAMETERS = {
    path.name: json.loads(path.read_text())["parameters"] for path in INFRA.glob("*.parameters.json")
}
GUIDE = (APP_ROOT / "docs" / "install-azure.md").read_text()
CONFIG = re.sub(r"(?m)^ *#.*", "", (APP_ROOT / "config.yaml").read_text())
VARIABLES = set(re.findall(r"\$\{(\w+)", CONFIG))

# What Flex Consumption does not take: it deploys, builds and scales in ways of its own.
REFUSED_SETTINGS = re.compile(
    r"\b(FUNCTIONS_(?:WORKER|EXTENSION)\w*|WEBSITE_\w+|SCM_\w+|ENABLE_ORYX_BUILD|AzureWebJobsDashboard)\b"
)
REFUSED_PROPERTIES = re.compile(
    r"alwaysOn|containerSize|ftpsState|functionAppScaleLimit|functionsRuntimeScaleMonitoringEnabled|isXenon|java\w+|"
    r"(linux|windows)FxVersion|(netFramework|node|php|powerShell|python)Version|preWarmedInstanceCount|"
    r"use32BitWorkerProcess|vnetRouteAllEnabled"
)
# What expressions of the settings come to.
COME_TO = {
    "hostAccount": "hostexample",
    "stateAccount": "stateexample",
    "storageSuffix": "core.windows.net",
    "identity.outputs.clientId": "00000000-0000-0000-0000-00000000000a",
    "monitoring.outputs.connectionString": "InstrumentationKey=00000000-0000-0000-0000-00000000000b;"
    "IngestionEndpoint=https://example.test/",
    "string(hubSettings)": '[{"namespace": "example.servicebus.windows.net", "event_hub": "counts"}]',
    "string(scaleOutShards)": "8",
}


def settings_of(variable: str) -> dict[str, str]:
    """Give the settings that an object of main.bicep makes."""
    block = re.search(rf"(?ms)^var {variable} = .*?^\}}", MAIN.text)
    assert block is not None
    found: dict[str, str] = {}
    for name, written in re.findall(r"(?m)^  (\w+): (.+)$", block[0]):
        if written.startswith("'"):
            found[name] = re.sub(r"\$\{(.+?)\}", lambda part: COME_TO[part[1]], written.strip("'"))
        else:
            found[name] = COME_TO[written]
    return found


def texts(settings: dict[str, Any]) -> dict[str, str]:
    """Give settings as main.bicep makes them: lists as JSON."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}


def read(tmp_path: Path, *objects: str) -> Settings:
    """Give the settings of an app that was made with the example's parameters."""
    environ = {"MICROSHARE_PASSWORD": "obviously-false-password"}
    for name in objects:
        environ |= settings_of(name)
    environ |= texts(PARAMETERS["example.parameters.json"]["appSettings"]["value"])
    return load_settings(environ, dotenv=tmp_path / "none")


# --- settings --------------------------------------------------------------------------------------


def test_the_app_reads_what_it_is_given(tmp_path: Path) -> None:
    settings = read(tmp_path, "ofInstallation")

    [hub] = settings.hubs
    client = COME_TO["identity.outputs.clientId"]
    assert settings.warnings == ()
    assert (settings.state.store, settings.state.table_endpoint, settings.state.client_id) == (
        "table",
        "https://stateexample.table.core.windows.net",
        client,
    )
    assert (hub.key, hub.connection_string, hub.network.client_id) == (
        "example.servicebus.windows.net/counts",
        None,
        client,
    )
    assert all(feed.view_id for feed in settings.feeds.values())
    assert settings.scale_out is None


def test_with_shards_the_queue_is_in_the_host_s_storage_and_the_state_where_it_was(tmp_path: Path) -> None:
    settings = read(tmp_path, "ofInstallation", "ofScaleOut")

    assert settings.scale_out is not None
    assert (settings.scale_out.shards, settings.scale_out.queue_endpoint) == (
        8,
        "https://hostexample.queue.core.windows.net",
    )
    assert settings.state.table_endpoint == "https://stateexample.table.core.windows.net"


def test_telemetry_finds_its_place_and_its_identity_when_it_is_switched_on(tmp_path: Path) -> None:
    environ = settings_of("ofInstallation") | {
        "MICROSHARE_PASSWORD": "obviously-false-password",
        "TELEMETRY": "azure-monitor",
    }
    environ |= texts(PARAMETERS["example.parameters.json"]["appSettings"]["value"])

    telemetry = load_settings(environ, dotenv=tmp_path / "none").telemetry

    assert telemetry is not None
    assert (telemetry.by_identity, telemetry.network.client_id) == (
        True,
        COME_TO["identity.outputs.clientId"],
    )


def test_every_setting_is_one_of_the_app_s_or_of_the_host_s() -> None:
    given = settings_of("ofInstallation") | settings_of("ofScaleOut")

    assert given.keys() - VARIABLES - set(NETWORK) == {f"{CONNECTION}__credential"}


def test_the_account_s_name_is_given_for_then_the_host_leaves_the_state_s_tables_alone() -> None:
    """The host takes addresses of services where there is no name, and a connection string before both."""
    given = settings_of("ofInstallation")

    assert f"{CONNECTION}__accountName" in given
    assert CONNECTION not in given


def test_what_the_vault_holds_are_secrets_of_the_app(tmp_path: Path) -> None:
    document, _ = read_document({}, APP_ROOT / "config.yaml", tmp_path / "none")
    default = MAIN.of("parameters")["vaultSettings"]["default"]

    assert "MICROSHARE_PASSWORD" in default
    assert default.keys() <= document.secret_variables
    assert "item => format('@Microsoft.KeyVault(SecretUri={0}/secrets/{1})'" in MAIN.text


def test_a_secret_is_in_no_parameter_file() -> None:
    document, _ = read_document({}, APP_ROOT / "config.yaml", APP_ROOT / "none")

    for parameters in PARAMETERS.values():
        assert document.secret_variables & parameters["appSettings"]["value"].keys() == set()
        assert "secureAppSettings" not in parameters


def test_nothing_is_set_that_the_plan_refuses() -> None:
    code = re.sub(r"(?m)//.*", "", EVERYTHING)
    app = body_of(MODULES["app"].of("resources")["app"])["properties"]

    assert REFUSED_SETTINGS.findall(code + json.dumps(PARAMETERS)) == []
    assert [name for name in (*app, *app["siteConfig"]) if REFUSED_PROPERTIES.fullmatch(name)] == []


def test_settings_reach_the_app_without_a_module_between() -> None:
    """A text in brackets, as lists are, that a module is given is taken for an expression, and fails."""
    settings = MAIN.of("resources")["settings"]
    lists = {"hubSettings", "appSettings", "given", "ofInstallation", "secureAppSettings"}

    assert (settings["type"], body_of(settings)["name"]) == ("Microsoft.Web/sites/config", "appsettings")
    assert "properties: union(ofInstallation, ofScaleOut, ofVault, given, secureAppSettings)" in MAIN.text
    assert "EVENT_HUB_CONNECTION_STRINGS: string(hubSettings)" in MAIN.text
    assert (
        "var given = toObject(items(appSettings), item => item.key, item => string(item.value))" in MAIN.text
    )
    for module in MAIN.of("modules").values():
        assert names_in(body_of(module)["params"]) & lists == set()


# --- parameters ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_a_parameter_file_gives_what_is_needed_and_nothing_else(name: str) -> None:
    given = PARAMETERS[name]

    assert given.keys() <= MAIN.of("parameters").keys()
    assert given.keys() >= MAIN.required
    assert given["appSettings"]["value"].keys() <= VARIABLES
    # azd takes a variable for a list.
    kinds = {"string": str, "array": (list, str) if "main" in name else list, "object": dict, "bool": bool}
    for parameter, one in given.items():
        assert isinstance(one["value"], kinds[MAIN.of("parameters")[parameter]["type"]]), parameter


def test_azd_is_given_settings_by_their_own_names() -> None:
    given = PARAMETERS["main.parameters.json"]["appSettings"]["value"]

    assert given == {name: f"${{{name}}}" for name in given}
    assert given.keys() <= set(re.findall(r"azd env set (\w+)", GUIDE))


def test_what_azd_is_not_given_is_empty_and_a_feed_without_a_view_is_off(tmp_path: Path) -> None:
    given = PARAMETERS["main.parameters.json"]["appSettings"]["value"]
    environ = (
        settings_of("ofInstallation")
        | dict.fromkeys(given, "")
        | {
            "MICROSHARE_USERNAME": "forwarder@example.test",
            "MICROSHARE_PASSWORD": "obviously-false-password",
            "MICROSHARE_IDENTITY": "=com.example.NORTH",
            "MICROSHARE_PC_DEVICE_CLUSTER_ID": "ffffffffffffffffffffff01",
            "MICROSHARE_PC_DASHBOARD_VIEW_ID": "ffffffffffffffffffffff02",
        }
    )

    settings = load_settings(environ, dotenv=tmp_path / "none")

    assert {name for name, feed in settings.feeds.items() if feed.view_id} == {"people_counter"}
    assert settings.warnings == ()


def test_the_parts_of_an_event_hub_s_id_are_where_they_are_looked_for() -> None:
    [live, partner] = PARAMETERS["example.parameters.json"]["eventHubs"]["value"]
    parts = live["id"].split("/")

    assert (parts[1], parts[3], parts[6:8], parts[9]) == (
        "subscriptions",
        "resourceGroups",
        ["Microsoft.EventHub", "namespaces"],
        "eventhubs",
    )
    assert "split(hub.id, '/')[8]" in MAIN.text
    assert "split(hub.id, '/')[10]" in MAIN.text
    assert "scope: resourceGroup(split(hub.id, '/')[2], split(hub.id, '/')[4])" in MAIN.text
    assert "id" not in partner


def test_every_parameter_is_in_the_guide() -> None:
    assert [name for name in MAIN.of("parameters") if f"`{name}`" not in GUIDE] == []


def test_every_output_is_used_by_the_guide() -> None:
    assert [name for name in MAIN.of("outputs") if name not in GUIDE] == []


def test_azd_finds_the_app_by_the_name_of_its_service() -> None:
    azure = yaml.safe_load((APP_ROOT / "azure.yaml").read_text())
    tags = body_of(MODULES["app"].of("resources")["app"])["tags"]["function"]["parameters"].values()

    assert {"'azd-service-name'": next(iter(azure["services"]))} in list(tags)
    assert azure["services"]["forwarder"] == {"project": ".", "language": "python", "host": "function"}
    assert (APP_ROOT / azure["infra"]["path"] / f"{azure['infra']['module']}.bicep") == MAIN.path


# --- rights ----------------------------------------------------------------------------------------


def granted(name: str) -> dict[str, set[str]]:
    """Give the roles that a module grants, by the parameter that says to whom."""
    module, found = MODULES[name], dict[str, set[str]]()
    for resource in module.of("resources").values():
        if resource["type"] != "Microsoft.Authorization/roleAssignments":
            continue
        body = body_of(resource)
        properties = body["properties"]
        role = properties["roleDefinitionId"]["function"]["parameters"]["resource_name_1"]
        of_variables = {
            variable: one["value"]
            for variable, one in module.of("variables").items()
            if isinstance(one["value"], str)
        }
        # A loop goes through all that the module names.
        ids = [of_variables[role]] if role in of_variables else list(of_variables.values())
        found.setdefault(properties["principalId"], set()).update(ROLES[one] for one in ids)
        kind = {"principalId": "ServicePrincipal", "operatorGroupId": "Group"}[properties["principalId"]]
        assert properties["principalType"] == kind
        # On one resource, never a group or a subscription, and under the same name each time.
        assert body["scope"] in module.of("resources")
        assert body["name"]["function"]["type"] == "guid"
    return found


def test_the_app_has_the_roles_that_it_needs_and_no_others() -> None:
    assert {name: granted(name) for name in MODULES if granted(name)} == {
        "host-storage": {"principalId": {"Storage Blob Data Owner", "Storage Queue Data Contributor"}},
        "state-roles": {
            "principalId": {"Storage Table Data Contributor"},
            "operatorGroupId": {"Storage Table Data Reader"},
        },
        "vault": {"principalId": {"Key Vault Secrets User"}},
        "monitoring": {"principalId": {"Monitoring Metrics Publisher"}},
        "event-hub-roles": {
            "principalId": {"Azure Event Hubs Data Sender"},
            "operatorGroupId": {"Azure Event Hubs Data Receiver"},
        },
    }


def test_who_may_not_grant_roles_finds_each_in_the_guide() -> None:
    texts = "".join(path.read_text() for path in (APP_ROOT / "infra").rglob("*.bicep"))

    assert [role for name, role in ROLES.items() if name in texts and role not in GUIDE] == []


def test_the_queue_s_role_and_queues_are_there_with_shards_only() -> None:
    module = MODULES["host-storage"].text

    assert f"queues: byQueue ? ['{QUEUE}', '{POISON}'] : []" in MAIN.text
    assert "empty(queues) ? [blobDataOwner] : [blobDataOwner, queueDataContributor]" in module
    assert "= [for queue in queues: {" in module
    # One shard, which the parameter takes, is none for the app: its settings ask for two at least.
    assert "var byQueue = scaleOutShards > 1\n" in MAIN.text
    assert "var ofScaleOut = byQueue ? {" in MAIN.text


def test_roles_are_granted_to_nobody_where_those_who_deploy_may_not() -> None:
    """Where other groups are asked for nothing, no right is needed to deploy there."""
    to = {
        name: body_of(module)["params"]["principalId"]
        for name, module in MAIN.of("modules").items()
        if "principalId" in body_of(module)["params"]
    }

    assert {name for name, value in to.items() if value == "granted"} == {
        "hostStorage",
        "vault",
        "monitoring",
    }
    assert to.keys() - {"hostStorage", "vault", "monitoring"} == {"stateRoles", "eventHubRoles"}
    assert "var granted = assignRoles ? identity.outputs.principalId : ''" in MAIN.text
    assert "module stateRoles 'modules/state-roles.bicep' = if (assignRoles) {" in MAIN.text
    assert "= [for hub in (assignRoles ? hubsById : []): {" in MAIN.text


def properties_of(kind: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (name, body_of(resource)["properties"])
        for name, module in MODULES.items()
        for resource in module.of("resources").values()
        if resource["type"] == kind and not resource["existing"]
    ]


@pytest.mark.parametrize(
    ("kind", "count", "wanted"),
    [
        (
            "Microsoft.Storage/storageAccounts",
            2,
            {"allowSharedKeyAccess": False, "allowBlobPublicAccess": False, "minimumTlsVersion": "TLS1_2"},
        ),
        ("Microsoft.EventHub/namespaces", 1, {"disableLocalAuth": True, "minimumTlsVersion": "1.2"}),
        ("Microsoft.Insights/components", 1, {"DisableLocalAuth": True}),
        ("Microsoft.KeyVault/vaults", 1, {"enableRbacAuthorization": True, "enablePurgeProtection": True}),
        ("Microsoft.Web/sites/basicPublishingCredentialsPolicies", 1, {"allow": False}),
        ("Microsoft.Web/sites", 1, {"httpsOnly": True, "keyVaultReferenceIdentity": "identityId"}),
    ],
)
def test_nothing_is_entered_by_a_shared_key(kind: str, count: int, wanted: dict[str, Any]) -> None:
    found = properties_of(kind)

    assert len(found) == count
    for name, properties in found:
        assert (name, {key: properties.get(key) for key in wanted}) == (name, wanted)


# --- what lasts, and what watches ------------------------------------------------------------------


def test_the_state_is_apart_from_the_app_and_its_host() -> None:
    state = MAIN.of("modules")["state"]

    assert [one["type"] for one in MODULES["state"].of("resources").values()] == [
        "Microsoft.Storage/storageAccounts"
    ]
    # It is not made again where the id of another installation's is given.
    assert "condition" in state["config"]
    assert body_of(state)["params"]["name"] != body_of(MAIN.of("modules")["hostStorage"])["params"]["name"]


def test_alerts_and_the_workbook_are_wired_to_the_logs_of_the_app() -> None:
    for name, path in {
        "alerts": "../deploy/azure/alerts.bicep",
        "workbook": "../deploy/azure/workbook.bicep",
    }.items():
        module = MAIN.of("modules")[name]
        assert module["detail"]["path"] == path
        assert "condition" not in module["config"]
        assert "applicationInsightsName: monitoring.outputs.name" in MAIN.text

    rules = parse(APP_ROOT / "deploy" / "azure" / "alerts.bicep").of("resources")["alerts"]
    assert body_of(rules)["properties"]["skipQueryValidation"] is True


def test_the_app_runs_on_a_python_that_its_packages_are_built_for() -> None:
    [allowed] = [
        one["argument"]
        for one in MAIN.of("parameters")["pythonVersion"]["decorators"]
        if one["type"] == "allowed"
    ]

    assert allowed == ["3.12", "3.13"]
