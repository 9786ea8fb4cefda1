// The function app, on the Flex Consumption plan.

@description('Name of the app.')
param name string

@description('Region of the app.')
param location string

@description('Tags of the app and its plan.')
param tags object

@description('Id of the user-assigned identity.')
param identityId string

@description('Version of Python.')
param pythonVersion string

@description('Memory of an instance in MB.')
param instanceMemoryMB int

@description('How many instances there may be.')
param maximumInstanceCount int

@description('Where the package is: the address of a blob container.')
param packageUrl string

@description('Id of the subnet that the app asks others from; empty: none.')
param subnetId string

@allowed(['Enabled', 'Disabled'])
@description('Whether a deployment of the package reaches the app from public networks. Nothing else asks it anything.')
param publicNetworkAccess string

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: name
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  name: name
  location: location
  // azd finds by this where to deploy to.
  tags: union(tags, { 'azd-service-name': 'forwarder' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    publicNetworkAccess: publicNetworkAccess
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    // Of the site's configuration this plan takes little: what other plans have (ftpsState, alwaysOn) it refuses.
    siteConfig: {
      minTlsVersion: '1.2'
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packageUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: pythonVersion
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
      }
    }
  }
}

resource passwordLogins 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = [for way in ['ftp', 'scm']: {
  parent: app
  name: way
  properties: {
    allow: false
  }
}]

output name string = app.name
