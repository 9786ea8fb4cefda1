"""The properties that Azure's resources take, from the models of its SDKs for management, as one small file.

python -m tools.azure_models    writes tools/azure_models.json anew; it installs the SDKs in .venvs (130 MB)

The models are those of the SDKs' own API versions, which are newer than some that templates name: a
property that came later is not noticed.
"""

from __future__ import annotations

import contextlib
import enum
import importlib
import json
import re
import subprocess
import sys
import typing
import venv
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "tools" / "azure_models.json"

_VENV = ROOT / ".venvs" / "azure-models"
_PACKAGES = (
    "azure-mgmt-appcontainers==5.1.0",
    "azure-mgmt-applicationinsights==4.1.0",
    "azure-mgmt-authorization==4.0.0",
    "azure-mgmt-containerregistry==15.0.0",
    "azure-mgmt-eventhub==12.0.0",
    "azure-mgmt-keyvault==14.1.0",
    "azure-mgmt-kusto==4.0.0",
    "azure-mgmt-loganalytics==14.0.0",
    "azure-mgmt-monitor==7.0.0",
    "azure-mgmt-msi==7.1.0",
    "azure-mgmt-network==33.1.0",
    "azure-mgmt-privatedns==2.0.0",
    "azure-mgmt-storage==25.3.0",
    "azure-mgmt-web==11.0.1",
)
# The model of a resource as it is written, by its type and the version of it that templates here name.
_ROOTS = {
    "Microsoft.App/jobs@2024-03-01": "appcontainers.Job",
    "Microsoft.App/managedEnvironments@2024-03-01": "appcontainers.ManagedEnvironment",
    "Microsoft.Authorization/roleAssignments@2022-04-01": (
        "authorization.v2022_04_01.RoleAssignmentCreateParameters"
    ),
    "Microsoft.ContainerRegistry/registries@2023-07-01": "containerregistry.Registry",
    "Microsoft.EventHub/namespaces@2024-01-01": "eventhub.EHNamespace",
    "Microsoft.EventHub/namespaces/eventhubs@2024-01-01": "eventhub.Eventhub",
    "Microsoft.EventHub/namespaces/eventhubs/consumergroups@2024-01-01": "eventhub.ConsumerGroup",
    "Microsoft.Insights/components@2020-02-02": (
        "applicationinsights.v2020_02_02.ApplicationInsightsComponent"
    ),
    "Microsoft.Insights/scheduledQueryRules@2023-12-01": "monitor.ScheduledQueryRuleResource",
    "Microsoft.Insights/workbooks@2022-04-01": "applicationinsights.v2022_04_01.Workbook",
    "Microsoft.KeyVault/vaults@2023-07-01": "keyvault.VaultCreateOrUpdateParameters",
    "Microsoft.Kusto/clusters@2023-08-15": "kusto.Cluster",
    "Microsoft.Kusto/clusters/databases@2023-08-15": "kusto.ReadWriteDatabase",
    "Microsoft.Kusto/clusters/databases/dataConnections@2023-08-15": "kusto.EventHubDataConnection",
    "Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31": "msi.Identity",
    "Microsoft.Network/natGateways@2024-05-01": "network.NatGateway",
    "Microsoft.Network/privateDnsZones@2020-06-01": "privatedns.PrivateZone",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks@2020-06-01": "privatedns.VirtualNetworkLink",
    "Microsoft.Network/privateEndpoints@2024-05-01": "network.PrivateEndpoint",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01": "network.PrivateDnsZoneGroup",
    "Microsoft.Network/publicIPAddresses@2024-05-01": "network.PublicIPAddress",
    "Microsoft.Network/virtualNetworks@2024-05-01": "network.VirtualNetwork",
    "Microsoft.OperationalInsights/workspaces@2023-09-01": "loganalytics.Workspace",
    "Microsoft.Storage/storageAccounts@2023-05-01": "storage.StorageAccountCreateParameters",
    "Microsoft.Storage/storageAccounts/blobServices@2023-05-01": "storage.BlobServiceProperties",
    "Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01": "storage.BlobContainer",
    "Microsoft.Storage/storageAccounts/queueServices@2023-05-01": "storage.QueueServiceProperties",
    "Microsoft.Storage/storageAccounts/queueServices/queues@2023-05-01": "storage.StorageQueue",
    "Microsoft.Web/serverfarms@2024-04-01": "web.AppServicePlan",
    "Microsoft.Web/sites@2024-04-01": "web.Site",
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01": (
        "web.CsmPublishingCredentialsPoliciesEntity"
    ),
    "Microsoft.Web/sites/config@2024-04-01": "web.StringDictionary",
}


Shape = str | list[str]

# --- in the environment of the SDKs ----------------------------------------------------------------


class _Reader:
    """Reads models, each once.

    A property is the name of a model, the values that it may have, or text, bool, number, any; with [] before
    it it is a list, with {} a mapping. What only Azure writes is left out.
    """

    def __init__(self) -> None:
        self.models: dict[str, dict[str, Shape]] = {}
        # Of each model what must be written.
        self.required: dict[str, list[str]] = {}

    def read(self, module: ModuleType, cls: type) -> str:
        """Give the name of a model, when it and all that it can hold are read."""
        key = f"{module.__name__.split('.')[2]}.{cls.__name__}"
        if key in self.models:
            return key
        fields = self.models[key] = {}
        if hasattr(cls, "_attribute_map"):
            self._read_older(module, cls, key)
            return key
        # Names are put into the fields when an instance is made.
        with contextlib.suppress(Exception):
            cls({})
        for base in reversed(cls.__mro__):
            for attribute, field in vars(base).items():
                if type(field).__name__ == "_RestField" and field._visibility != ["read"]:
                    annotation = base.__annotations__.get(attribute, "any")
                    name = field._rest_name_input or attribute
                    fields[name] = self._shape(module, annotation)
                    if type(None) not in typing.get_args(annotation):
                        self.required.setdefault(key, []).append(name)
        return key

    def _read_older(self, module: ModuleType, cls: Any, key: str) -> None:
        for attribute, spec in cls._attribute_map.items():
            if cls._validation.get(attribute, {}).get("readonly"):
                continue
            *path, last = [part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", spec["key"])]
            into = self.models[key]
            for part in path:
                into[part] = f"{key}.{part}"
                into = self.models.setdefault(f"{key}.{part}", {})
            into[last] = self._named(module, spec["type"], _described(cls, attribute))
            if cls._validation.get(attribute, {}).get("required"):
                self.required.setdefault(".".join((key, *path)), []).append(last)

    def _shape(self, module: ModuleType, annotation: Any) -> Shape:
        if isinstance(annotation, typing.ForwardRef):
            annotation = annotation.__forward_arg__
        if isinstance(annotation, str):
            return self._named(module, annotation)
        if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
            return [member.value for member in annotation]
        origin, args = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Union:
            shapes = [self._shape(module, one) for one in args if one is not type(None)]
            return next((one for one in shapes if one not in ("text", "any")), shapes[0])
        if origin in (list, dict):
            return _several("[]" if origin is list else "{}", self._shape(module, args[-1]))
        return {str: "text", bool: "bool", int: "number", float: "number"}.get(annotation, "any")

    def _named(self, module: ModuleType, name: str, described: str = "") -> Shape:
        if name[0] in "[{":
            return _several("[]" if name[0] == "[" else "{}", self._named(module, name[1:-1]))
        name = name.rpartition(".")[2]
        if name in _SIMPLE:
            of_enum = re.search(r"str or ~[\w.]+\.(\w+)", described)
            return self._named(module, of_enum[1]) if of_enum else _SIMPLE[name]
        found = getattr(module, name, None)
        if not isinstance(found, type):
            return "any"
        return self._shape(module, found) if issubclass(found, enum.Enum) else self.read(module, found)


_SIMPLE = {"str": "text", "bool": "bool", "int": "number", "float": "number", "duration": "text"}


def _several(sign: str, of: Shape) -> str:
    return sign + (of if isinstance(of, str) else "any")


def _described(cls: type, attribute: str) -> str:
    """Give what a class says of an attribute: older models name their enumerations there alone."""
    for base in cls.__mro__:
        found = re.search(rf":vartype {attribute}: (.*?)(?=\n *:|\Z)", base.__doc__ or "", re.DOTALL)
        if found:
            return " ".join(found[1].split())
    return ""


def read() -> int:
    """Print all models as JSON."""
    reader = _Reader()
    roots = {}
    for kind, path in _ROOTS.items():
        module_name, _, name = path.rpartition(".")
        module = importlib.import_module(f"azure.mgmt.{module_name}.models")
        roots[kind] = reader.read(module, getattr(module, name))
    document = {"types": roots, "models": reader.models, "required": reader.required}
    print(json.dumps(document, indent=1, sort_keys=True))
    return 0


# --- here ------------------------------------------------------------------------------------------


def write() -> int:
    """Write the file; give the exit status."""
    python = _VENV / "bin" / "python"
    if not python.is_file():
        venv.create(_VENV, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([*pip, *_PACKAGES], check=True)
        done = subprocess.run([python, __file__, "read"], check=True, stdout=subprocess.PIPE, text=True)
    except subprocess.CalledProcessError as error:
        print("the SDKs could not be read, see above; try again with a network", file=sys.stderr)
        return error.returncode
    MODELS.write_text(done.stdout, encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(read() if sys.argv[1:] == ["read"] else write())
