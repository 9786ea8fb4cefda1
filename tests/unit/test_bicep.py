"""Each Bicep file parses and is right by the models of Azure's SDKs; and what is wrong with one is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.base.program import APP_ROOT
from tools.bicep import parse, problems, waited_for

FILES = sorted(path for folder in ("infra", "deploy") for path in (APP_ROOT / folder).rglob("*.bicep"))
MAIN = "infra/main.bicep"
MODULES = "infra/modules"


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(APP_ROOT)) for path in FILES])
def test_nothing_is_wrong_with_it(path: Path) -> None:
    assert problems(path) == []


@pytest.mark.parametrize(
    ("path", "right", "wrong", "said"),
    [
        pytest.param(
            f"{MODULES}/state.bicep",
            "allowSharedKeyAccess: false",
            "allowSharedKeyAcces: false",
            "account.properties: has no property allowSharedKeyAcces",
            id="a property",
        ),
        pytest.param(
            f"{MODULES}/app.bicep",
            "        instanceMemoryMB: ",
            "        instanceMemoryMb: ",
            "app.properties.functionAppConfig.scaleAndConcurrency: has no property instanceMemoryMb; "
            "did you mean instanceMemoryMB?",
            id="the case of one that is deep",
        ),
        pytest.param(
            f"{MODULES}/vault.bicep",
            "    tenantId: subscription().tenantId\n",
            "",
            "vault.properties: the property tenantId is not given",
            id="one that must be there",
        ),
        pytest.param(
            "deploy/azure/alerts.bicep",
            "minFailingPeriodsToAlert: 1",
            "minFailingPeriods: 1",
            "alerts.properties.criteria.allOf.failingPeriods: has no property minFailingPeriods",
            id="one in a list of a loop",
        ),
        pytest.param(
            f"{MODULES}/host-storage.bicep",
            "'TLS1_2'",
            "'TLS12'",
            "account.properties.minimumTlsVersion: 'TLS12' is not one of TLS1_0, TLS1_1, TLS1_2, TLS1_3",
            id="a value of an enumeration",
        ),
        pytest.param(
            f"{MODULES}/state.bicep",
            "'Allow' : 'Deny'",
            "'Allow' : 'Refuse'",
            "account.properties.networkAcls.defaultAction: 'Refuse' is not one of Allow, Deny",
            id="one of two that a condition gives",
        ),
        pytest.param(
            f"{MODULES}/vault.bicep",
            "principalType: 'ServicePrincipal'",
            "principalType: 'Identity'",
            "grant.properties.principalType: 'Identity' is not one of User, Group, ServicePrincipal, "
            "ForeignGroup, Device",
            id="a value that an older model knows",
        ),
        pytest.param(
            f"{MODULES}/monitoring.bicep",
            "DisableLocalAuth: true",
            "DisableLocalAuth: 'true'",
            "insights.properties.DisableLocalAuth: 'true' is not a bool",
            id="a text for a bool",
        ),
        pytest.param(
            f"{MODULES}/private-endpoint.bicep",
            "groupIds: [group]",
            "groupIds: { group: group }",
            "endpoint.properties.privateLinkServiceConnections.properties.groupIds: is not a list",
            id="an object for a list",
        ),
        pytest.param(
            f"{MODULES}/app.bicep",
            "sites@2024-04-01' = {",
            "sites@2024-04-31' = {",
            "app: Microsoft.Web/sites@2024-04-31 is not known; Microsoft.Web/sites@2024-04-01 is",
            id="a version",
        ),
        pytest.param(
            f"{MODULES}/app.bicep",
            "'Microsoft.Web/serverfarms@",
            "'Microsoft.Web/serverfarm@",
            "plan: Microsoft.Web/serverfarm@2024-04-01 is not known; add it to tools/azure_models.py, "
            "and run that",
            id="a type",
        ),
        pytest.param(
            f"{MODULES}/vault.bicep",
            "-0445c86b69e6",
            "-0445c86b69e7",
            "4633458b-17de-408a-b874-0445c86b69e7 is not the id of a role",
            id="a role",
        ),
        pytest.param(
            f"{MODULES}/app.bicep",
            "serverFarmId: plan.id",
            "serverFarmId: farm.id",
            "app: farm is not declared",
            id="a name that is not declared",
        ),
        pytest.param(
            MAIN,
            "var appName = '${name}-${suffix}'",
            "var appName = '${name}-${sufix}'",
            "appName: sufix is not declared",
            id="one within a text",
        ),
        pytest.param(
            MAIN,
            "item => item.key != 'id'",
            "item => other.key != 'id'",
            "hubSettings: other is not declared",
            id="one within a function",
        ),
        pytest.param(
            f"{MODULES}/private-endpoint.bicep",
            "if (!empty(zoneId))",
            "if (!empty(zone))",
            "record: zone is not declared",
            id="one of a condition",
        ),
        pytest.param(
            f"{MODULES}/identity.bicep",
            "  tags: tags\n",
            "",
            "tags: is not used",
            id="a parameter that nothing uses",
        ),
        pytest.param(
            MAIN,
            "    sku: stateSku\n",
            "",
            "state: the parameter sku is not given",
            id="a parameter of a module that is not given",
        ),
        pytest.param(
            MAIN,
            "    packageContainer: packageContainer\n",
            "    packageContainer: packageContainer\n    container: packageContainer\n",
            "hostStorage: has no parameter container",
            id="one that a module does not have",
        ),
        pytest.param(
            MAIN,
            "identity.outputs.clientId",
            "identity.outputs.clientID",
            "identity: has no output clientID",
            id="an output that a module does not have",
        ),
        pytest.param(
            MAIN,
            "'modules/vault.bicep'",
            "'modules/vaults.bicep'",
            "vault: there is no file vaults.bicep",
            id="a file of a module",
        ),
        pytest.param(
            f"{MODULES}/state.bicep",
            "  name: name\n",
            "  name: name\n{\n",
            "cannot be parsed: Unexpected token",
            id="a brace",
        ),
    ],
)
def test_what_is_wrong_is_found(path: str, right: str, wrong: str, said: str) -> None:
    text = (APP_ROOT / path).read_text()
    assert right in text

    found = problems(APP_ROOT / path, text.replace(right, wrong, 1))

    assert [problem for problem in found if problem.startswith(said)] != [], found


def not_waited_for(text: str) -> list[str]:
    """Give what the app needs at its first start and is made beside it, or after it, of a main.bicep."""
    main = parse(APP_ROOT / MAIN, text)
    needed = (
        "Microsoft.Authorization/roleAssignments@",
        "Microsoft.ManagedIdentity/userAssignedIdentities@",
        "Microsoft.Network/privateEndpoints@",
        "Microsoft.Network/virtualNetworks@",
        "Microsoft.Storage/storageAccounts/blobServices/containers@",
    )
    modules = {
        name
        for name in main.of("modules")
        if any(kind in main.module_path(name).read_text() for kind in needed)
    }
    # The app's own endpoint is one to the app.
    return sorted(modules - waited_for(main, "app") - {"appEndpoint"})


def test_the_app_waits_for_its_identity_and_roles_its_package_s_container_and_its_ways_out() -> None:
    assert not_waited_for((APP_ROOT / MAIN).read_text()) == []


@pytest.mark.parametrize(
    "name", ["hostStorage", "stateRoles", "eventHubRoles", "vault", "network", "privateEndpoints"]
)
def test_an_app_that_does_not_wait_is_found(name: str) -> None:
    text = (APP_ROOT / MAIN).read_text()
    waiting = next(line for line in text.splitlines() if "dependsOn: [identity, hostStorage" in line)

    assert name in not_waited_for(text.replace(waiting, waiting.replace(name, "identity")))
