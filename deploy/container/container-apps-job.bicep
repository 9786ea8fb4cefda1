// A Container Apps job for each feed, in an environment that is there already: the state in tables, secrets from
// a vault, hubs by the job's own identity. See docs/install-container.md.
//   az deployment group create --resource-group GROUP --template-file container-apps-job.bicep --parameters FILE

targetScope = 'resourceGroup'

@description('Region; that of the environment.')
param location string = resourceGroup().location

@description('Name of the identity, and the beginning of the names of the jobs.')
@maxLength(16)
param name string = 'forwarder'

@description('Id of the Container Apps environment.')
param environmentId string

@description('The image, with the host of its registry: example.azurecr.io/microshare-forwarder:1.0.1.')
param image string

@description('Name of the Azure container registry, in this resource group, that the image is in; empty: one that asks for no login.')
param registryName string = ''

@description('Name of the vault, in this resource group, that the secrets are in.')
param vaultName string

@description('The secrets: the variable of each, and its name in the vault.')
param secrets object = {
  MICROSHARE_PASSWORD: 'microshare-password'
}

@description('Name of the storage account, in this resource group, that the state is kept in.')
param storageName string

@description('Name of the Event Hubs namespace, in this resource group; empty: the right to send is granted by hand.')
param eventHubNamespaceName string = ''

@description('All other settings, as in .env: MICROSHARE_USERNAME, EVENT_HUB_CONNECTION_STRINGS as a JSON text, and so on.')
param settings object

@description('When each feed is run, by its name on the command line: five fields, in UTC.')
param feeds object = {
  'people-counter': '*/15 * * * *'
  'hourly-snapshot': '0 * * * *'
}

var acrPull = '7f951dda-4ed3-4680-a7ca-43fe172d538d'
var eventHubsDataSender = '2b629674-e913-4c01-ae53-ef4638d8f975'
var tableDataContributor = '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
var vaultSecretsUser = '4633458b-17de-408a-b874-0445c86b69e6'
var secretsFolder = '/mnt/secrets'
var ofState = {
  STATE_STORE: 'table'
  AzureWebJobsStorage__accountName: storageName
  AzureWebJobsStorage__clientId: identity.properties.clientId
  AZURE_CLIENT_ID: identity.properties.clientId
  CREDENTIALS_DIRECTORY: secretsFolder
}

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' existing = {
  name: vaultName
}

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: storageName
}

resource registry 'Microsoft.ContainerRegistry/registries@2023-07-01' existing = {
  name: empty(registryName) ? 'none' : registryName
}

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' existing = {
  name: empty(eventHubNamespaceName) ? 'none' : eventHubNamespaceName
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: name
  location: location
}

resource toVault 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, identity.id, vaultSecretsUser)
  scope: vault
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', vaultSecretsUser)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource toState 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage.id, identity.id, tableDataContributor)
  scope: storage
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', tableDataContributor)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource toImage 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(registryName)) {
  name: guid(registry.id, identity.id, acrPull)
  scope: registry
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', acrPull)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource toHubs 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(eventHubNamespaceName)) {
  name: guid(namespace.id, identity.id, eventHubsDataSender)
  scope: namespace
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', eventHubsDataSender)
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource jobs 'Microsoft.App/jobs@2024-03-01' = [for feed in items(feeds): {
  name: '${name}-${feed.key}'
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identity.id}': {}
    }
  }
  properties: {
    environmentId: environmentId
    configuration: {
      triggerType: 'Schedule'
      scheduleTriggerConfig: {
        cronExpression: feed.value
        parallelism: 1
        replicaCompletionCount: 1
      }
      // A run ends by itself 4.5 minutes after its start; the next time is the retry.
      replicaTimeout: 360
      replicaRetryLimit: 0
      registries: empty(registryName) ? [] : [
        {
          server: registry.properties.loginServer
          identity: identity.id
        }
      ]
      secrets: map(items(secrets), secret => {
        name: secret.value
        keyVaultUrl: 'https://${vaultName}${environment().suffixes.keyvaultDns}/secrets/${secret.value}'
        identity: identity.id
      })
    }
    template: {
      containers: [
        {
          name: 'run'
          image: image
          args: ['run', feed.key, '--json']
          env: map(items(union(settings, ofState)), setting => {
            name: setting.key
            value: string(setting.value)
          })
          resources: {
            cpu: json('0.5')
            memory: '1Gi'
          }
          volumeMounts: [
            {
              volumeName: 'secrets'
              mountPath: secretsFolder
            }
          ]
        }
      ]
      volumes: [
        {
          name: 'secrets'
          storageType: 'Secret'
          secrets: map(items(secrets), secret => {
            secretRef: secret.value
            path: secret.key
          })
        }
      ]
    }
  }
  // A vault or a registry that does not let it in yet fails the deployment.
  dependsOn: [toVault, toState, toImage, toHubs]
}]

output identityClientId string = identity.properties.clientId
