// The forwarder in Azure, into one resource group. docs/install-azure.md leads through it.
//
// What lasts is apart from what can be made again: positions are in the state's account, secrets in the vault, readings in
// the event hubs. The app, its plan and the host's storage can be removed and deployed again, and go on from there.
targetScope = 'resourceGroup'

@description('What all names begin with, a letter first. The host tells apps apart by the first 32 characters of their names: these.')
@minLength(4)
@maxLength(18)
param name string = 'forwarder'

@description('Region of all that is made.')
param location string = resourceGroup().location

@description('Tags of all that is made.')
param tags object = {}

// --- the app ---------------------------------------------------------------------------------------

@description('Version of Python that the app runs on, and that its package is built for.')
@allowed(['3.12', '3.13'])
param pythonVersion string = '3.12'

@description('Memory of an instance in MB. With 512 it has a quarter of a core, and begins slowly.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('How many instances there may be; Flex Consumption takes no fewer than 40.')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Settings by their names in docs/settings.md, each a text; a JSON array may be written as a list. A deployment replaces all settings of the app by what is given here: one that was set by hand is gone.')
param appSettings object

@secure()
@description('The same for values that nobody is to read in the history of deployments, where there is no vault.')
param secureAppSettings object = {}

@description('Whether a Key Vault is made for the secrets that the settings refer to.')
param makeVault bool = true

@description('Settings whose values are secrets of the vault, and what these are called. The secrets are put in by hand.')
param vaultSettings object = {
  MICROSHARE_PASSWORD: 'microshare-password'
}

@description('In how many shards each feed is run, from a queue; 0 or 1: a timer runs its feed as a whole. See docs/scaling.md.')
@minValue(0)
@maxValue(256)
param scaleOutShards int = 0

// --- event hubs ------------------------------------------------------------------------------------

@description('Event hubs that are there. Each is an object as EVENT_HUB_CONNECTION_STRINGS takes it, and is passed on as it is; in place of `namespace` and `event_hub` it may have `id`, the resource id of the event hub, in any subscription: the app is then given the right to send to it.')
param eventHubs array = []

@description('Whether a namespace with an event hub is made.')
param makeEventHub bool = empty(eventHubs)

@description('Name of the event hub that is made.')
param eventHubName string = 'microshare'

// --- who may do what -------------------------------------------------------------------------------

@description('Whether roles are granted. False where those who deploy may not: docs/install-azure.md has the commands for who may.')
param assignRoles bool = true

@description('Id of a Microsoft Entra group whose members may read the state and the event hubs, for `status`, `audit` and `report`; empty: none.')
param operatorGroupId string = ''

// --- the state -------------------------------------------------------------------------------------

@description('Id of the storage account of an installation that is to be gone on with; empty: an account is made.')
param existingStateAccountId string = ''

@description('How many copies of the state are kept; what a region offers differs.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
param stateSku string = 'Standard_LRS'

// --- watching --------------------------------------------------------------------------------------

@description('Id of a Log Analytics workspace that is there; empty: one is made.')
param existingWorkspaceId string = ''

@description('Ids of action groups that alerts are sent to; none: they are shown in the portal only.')
param actionGroupIds array = []

// --- the network -----------------------------------------------------------------------------------

@description('Whether storage and the event hub that is made are reached by private endpoints only.')
param privateNetwork bool = false

@description('Id of a subnet for the app, at least a /27, delegated to Microsoft.App/environments; empty: a virtual network is made.')
param appSubnetId string = ''

@description('Id of a subnet for private endpoints, in the same network; given with `appSubnetId` or not at all.')
param endpointSubnetId string = ''

@description('Addresses of the network that is made, at least a /26.')
param addressPrefix string = '10.94.0.0/26'

@description('Whether the network that is made has a NAT gateway: one fixed address for what the app asks outside.')
param makeNatGateway bool = true

@description('Whether private DNS zones are made; false where a policy of yours makes the records.')
param makeDnsZones bool = true

@description('Disabled: the package is deployed from within the network only, by a private endpoint of the app.')
@allowed(['Enabled', 'Disabled'])
param appPublicAccess string = 'Enabled'

// --- names -----------------------------------------------------------------------------------------

var suffix = uniqueString(resourceGroup().id, name)
var appName = '${name}-${suffix}'
var hostAccount = 'host${suffix}'
var stateAccount = empty(existingStateAccountId) ? 'state${suffix}' : last(split(existingStateAccountId, '/'))
var vaultName = 'kv-${suffix}'
var packageContainer = 'package'
var networkName = '${name}-network'

var identityId = resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', name)
var stateId = empty(existingStateAccountId) ? resourceId('Microsoft.Storage/storageAccounts', stateAccount) : existingStateAccountId
var storageSuffix = environment().suffixes.storage

// Nobody is granted anything where this is empty.
var granted = assignRoles ? identity.outputs.principalId : ''

// --- event hubs, as settings and as what roles are granted on --------------------------------------

var madeEventHub = {
  id: resourceId('Microsoft.EventHub/namespaces/eventhubs', appName, eventHubName)
}
var hubs = concat(makeEventHub ? [madeEventHub] : [], eventHubs)
var hubsById = filter(hubs, hub => contains(hub, 'id'))
// The parts of an id are /subscriptions/2/resourceGroups/4/providers/6/namespaces/8/eventhubs/10.
var hubSettings = concat(
  map(hubsById, hub => union(
    {
      namespace: format('{0}.servicebus.windows.net', split(hub.id, '/')[8])
      event_hub: split(hub.id, '/')[10]
    },
    toObject(filter(items(hub), item => item.key != 'id'), item => item.key, item => item.value)
  )),
  filter(hubs, hub => !contains(hub, 'id'))
)

// --- settings --------------------------------------------------------------------------------------

var vaultUri = 'https://${vaultName}${environment().suffixes.keyvaultDns}'
var ofVault = toObject(
  items(makeVault ? vaultSettings : {}),
  item => item.key,
  item => format('@Microsoft.KeyVault(SecretUri={0}/secrets/{1})', vaultUri, item.value)
)
// One shard is the whole feed, which a timer runs; the app refuses to be told of a queue for it.
var byQueue = scaleOutShards > 1
var ofScaleOut = byQueue ? {
  SCALE_OUT: 'queue'
  SCALE_OUT_SHARDS: string(scaleOutShards)
} : {}
var ofInstallation = {
  // The host goes by the account's name and does not look at the address of tables: that is the state's, for the app alone.
  AzureWebJobsStorage__accountName: hostAccount
  AzureWebJobsStorage__tableServiceUri: 'https://${stateAccount}.table.${storageSuffix}'
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identity.outputs.clientId
  AZURE_CLIENT_ID: identity.outputs.clientId
  APPLICATIONINSIGHTS_CONNECTION_STRING: monitoring.outputs.connectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.outputs.clientId};Authorization=AAD'
  STATE_STORE: 'table'
  EVENT_HUB_CONNECTION_STRINGS: string(hubSettings)
}
var given = toObject(items(appSettings), item => item.key, item => string(item.value))

// --- the network -----------------------------------------------------------------------------------

var makeNetwork = privateNetwork && empty(appSubnetId)
var appSubnet = makeNetwork ? resourceId('Microsoft.Network/virtualNetworks/subnets', networkName, 'app') : appSubnetId
var endpointSubnet = empty(endpointSubnetId) ? resourceId('Microsoft.Network/virtualNetworks/subnets', networkName, 'endpoints') : endpointSubnetId
var publicAccess = privateNetwork ? 'Disabled' : 'Enabled'
var zoneNames = {
  blob: 'privatelink.blob.${storageSuffix}'
  queue: 'privatelink.queue.${storageSuffix}'
  table: 'privatelink.table.${storageSuffix}'
  namespace: 'privatelink.servicebus.windows.net'
  sites: 'privatelink.azurewebsites.net'
}
var closedApp = privateNetwork && appPublicAccess == 'Disabled'
var hostId = resourceId('Microsoft.Storage/storageAccounts', hostAccount)
var endpoints = !privateNetwork ? [] : concat(
  [
    { name: '${name}-host-blob', group: 'blob', target: hostId }
    { name: '${name}-state-table', group: 'table', target: stateId }
  ],
  byQueue ? [{ name: '${name}-host-queue', group: 'queue', target: hostId }] : [],
  makeEventHub ? [{ name: '${name}-event-hub', group: 'namespace', target: resourceId('Microsoft.EventHub/namespaces', appName) }] : []
)
var groups = concat(map(endpoints, endpoint => endpoint.group), closedApp ? ['sites'] : [])

// --- what lasts ------------------------------------------------------------------------------------

module state 'modules/state.bicep' = if (empty(existingStateAccountId)) {
  name: '${name}-state'
  params: {
    name: stateAccount
    location: location
    tags: tags
    sku: stateSku
    publicNetworkAccess: publicAccess
  }
}

module vault 'modules/vault.bicep' = if (makeVault) {
  name: '${name}-vault'
  params: {
    name: vaultName
    location: location
    tags: tags
    principalId: granted
  }
}

module madeEventHubs 'modules/event-hubs.bicep' = if (makeEventHub) {
  name: '${name}-event-hubs'
  params: {
    name: appName
    location: location
    tags: tags
    eventHubName: eventHubName
    publicNetworkAccess: publicAccess
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: '${name}-monitoring'
  params: {
    name: name
    location: location
    tags: tags
    existingWorkspaceId: existingWorkspaceId
    principalId: granted
  }
}

module alerts '../deploy/azure/alerts.bicep' = {
  name: '${name}-alerts'
  params: {
    applicationInsightsName: monitoring.outputs.name
    actionGroupIds: actionGroupIds
    location: location
    prefix: name
  }
}

module workbook '../deploy/azure/workbook.bicep' = {
  name: '${name}-workbook'
  params: {
    applicationInsightsName: monitoring.outputs.name
    location: location
  }
}

// --- who the app is, and what it may do ------------------------------------------------------------

module identity 'modules/identity.bicep' = {
  name: '${name}-identity'
  params: {
    name: name
    location: location
    tags: tags
  }
}

module stateRoles 'modules/state-roles.bicep' = if (assignRoles) {
  name: '${name}-state-roles'
  scope: resourceGroup(split(stateId, '/')[2], split(stateId, '/')[4])
  params: {
    accountName: stateAccount
    principalId: identity.outputs.principalId
    operatorGroupId: operatorGroupId
  }
  dependsOn: [state]
}

module eventHubRoles 'modules/event-hub-roles.bicep' = [for hub in (assignRoles ? hubsById : []): {
  name: '${name}-${uniqueString(hub.id)}'
  scope: resourceGroup(split(hub.id, '/')[2], split(hub.id, '/')[4])
  params: {
    namespaceName: split(hub.id, '/')[8]
    eventHubName: split(hub.id, '/')[10]
    principalId: identity.outputs.principalId
    operatorGroupId: operatorGroupId
  }
  dependsOn: [madeEventHubs]
}]

// --- the app, and what goes with it ----------------------------------------------------------------

module hostStorage 'modules/host-storage.bicep' = {
  name: '${name}-host-storage'
  params: {
    name: hostAccount
    location: location
    tags: tags
    packageContainer: packageContainer
    queues: byQueue ? ['forwarder-shards', 'forwarder-shards-poison'] : []
    principalId: granted
    publicNetworkAccess: publicAccess
  }
}

module network 'modules/network.bicep' = if (privateNetwork) {
  name: '${name}-network'
  params: {
    name: networkName
    location: location
    tags: tags
    makeNetwork: makeNetwork
    addressPrefix: addressPrefix
    makeNatGateway: makeNatGateway
    networkId: split(appSubnet, '/subnets/')[0]
    zoneNames: makeDnsZones ? map(groups, group => zoneNames[group]) : []
  }
}

module privateEndpoints 'modules/private-endpoint.bicep' = [for endpoint in endpoints: {
  name: endpoint.name
  params: {
    name: endpoint.name
    location: location
    tags: tags
    subnetId: endpointSubnet
    targetId: endpoint.target
    group: endpoint.group
    zoneId: makeDnsZones ? resourceId('Microsoft.Network/privateDnsZones', zoneNames[endpoint.group]) : ''
  }
  dependsOn: [network, hostStorage, state, madeEventHubs]
}]

// Only when all that it needs at its start is there: a package that meets a missing role or container is not taken.
module app 'modules/app.bicep' = {
  name: '${name}-app'
  params: {
    name: appName
    location: location
    tags: tags
    identityId: identityId
    pythonVersion: pythonVersion
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    packageUrl: 'https://${hostAccount}.blob.${storageSuffix}/${packageContainer}'
    subnetId: privateNetwork ? appSubnet : ''
    publicNetworkAccess: closedApp ? 'Disabled' : 'Enabled'
  }
  dependsOn: [identity, hostStorage, state, stateRoles, eventHubRoles, vault, monitoring, network, privateEndpoints]
}

resource site 'Microsoft.Web/sites@2024-04-01' existing = {
  name: appName
}

// Here and not in the app's module: a text in brackets, as lists are, that a module is given is taken for an expression.
resource settings 'Microsoft.Web/sites/config@2024-04-01' = {
  parent: site
  name: 'appsettings'
  properties: union(ofInstallation, ofScaleOut, ofVault, given, secureAppSettings)
  dependsOn: [app]
}

module appEndpoint 'modules/private-endpoint.bicep' = if (closedApp) {
  name: '${name}-app-endpoint'
  params: {
    name: '${name}-app'
    location: location
    tags: tags
    subnetId: endpointSubnet
    targetId: resourceId('Microsoft.Web/sites', appName)
    group: 'sites'
    zoneId: makeDnsZones ? resourceId('Microsoft.Network/privateDnsZones', zoneNames.sites) : ''
  }
  dependsOn: [app, network]
}

// Commands of docs/install-azure.md take these.
output appName string = app.outputs.name
output identityPrincipalId string = identity.outputs.principalId
output stateAccount string = stateAccount
output hostAccount string = hostAccount
output vaultName string = makeVault ? vaultName : ''
output applicationInsightsName string = monitoring.outputs.name
