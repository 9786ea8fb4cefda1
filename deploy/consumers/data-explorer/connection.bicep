// What lets a cluster of Data Explorer read an event hub: a consumer group, the right to receive, and the data connection.
// Deploy it into the resource group of the hub's namespace, after tables.kql has been run.

@description('Name of the Event Hubs namespace, in this resource group.')
param namespaceName string

@description('Name of the event hub; it has `body: with_ids`.')
param eventHubName string

@description('A consumer group that nobody else reads with; made here.')
param consumerGroupName string = 'data-explorer'

@description('Name of the cluster. It has a system-assigned identity.')
param clusterName string

@description('Resource group of the cluster.')
param clusterResourceGroup string = resourceGroup().name

@description('Name of the database in which tables.kql was run.')
param databaseName string

@description('From when on events are read, as 2026-03-02T00:00:00Z. Empty: from now on.')
param readFrom string = ''

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' existing = {
  name: namespaceName
}

resource eventHub 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' existing = {
  parent: namespace
  name: eventHubName
}

resource cluster 'Microsoft.Kusto/clusters@2023-08-15' existing = {
  name: clusterName
  scope: resourceGroup(clusterResourceGroup)
}

resource consumerGroup 'Microsoft.EventHub/namespaces/eventhubs/consumergroups@2024-01-01' = {
  parent: eventHub
  name: consumerGroupName
  properties: {}
}

// Azure Event Hubs Data Receiver, for this hub alone.
resource mayReceive 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(eventHub.id, cluster.id, 'receiver')
  scope: eventHub
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'a638d3c7-ab3a-418d-83e6-5f17a39d4fde')
    principalId: cluster.identity.principalId
    principalType: 'ServicePrincipal'
  }
}

module connection 'data-connection.bicep' = {
  name: 'forwarder-data-connection'
  scope: resourceGroup(clusterResourceGroup)
  params: {
    clusterName: clusterName
    databaseName: databaseName
    eventHubId: eventHub.id
    consumerGroupName: consumerGroup.name
    readFrom: readFrom
  }
  dependsOn: [
    mayReceive
  ]
}
