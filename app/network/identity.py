"""Who this host is to Azure, where no key says so.

In the cloud that is its managed identity and nothing else. Elsewhere it is what a developer or a server
is signed in as: the environment's service principal, a workload's token, `az login`.
"""

from __future__ import annotations

from typing import Any

from app.network.proxies import azure_options
from app.settings.schema import NetworkSettings

# Where everybody but a managed identity signs in; an identity's own endpoint is of this host, without proxy.
_SIGN_IN = "https://login.microsoftonline.com"


def credential(network: NetworkSettings) -> Any:
    """Give what signs in, for clients that wait. Nothing is asked yet."""
    from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

    return _made(ManagedIdentityCredential, DefaultAzureCredential, network)


def async_credential(network: NetworkSettings) -> Any:
    """Give what signs in, for asyncio clients; to be closed. Nothing is asked yet."""
    from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

    return _made(ManagedIdentityCredential, DefaultAzureCredential, network)


def identity_name(network: NetworkSettings) -> str:
    """Say who signs in, for people."""
    which = f"managed identity {network.client_id}" if network.client_id else "system-assigned identity"
    return which if network.in_azure else f"{which}, or who is signed in here"


def _made(managed: Any, default: Any, network: NetworkSettings) -> Any:
    options = azure_options(network, _SIGN_IN)
    if network.in_azure:
        return managed(client_id=network.client_id, **options)
    return default(managed_identity_client_id=network.client_id, **options)
