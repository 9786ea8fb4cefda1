// The data connection itself, in the resource group of the cluster; connection.bicep makes it.

@description('Name of the cluster. It has a system-assigned identity.')
param clusterName string

@description('Name of the database in which tables.kql was run.')
param databaseName string

@description('Resource id of the event hub.')
param eventHubId string

@description('A consumer group that nobody else reads with.')
param consumerGroupName string

@description('From when on events are read. Empty: from now on.')
param readFrom string

resource cluster 'Microsoft.Kusto/clusters@2023-08-15' existing = {
  name: clusterName
}

resource database 'Microsoft.Kusto/clusters/databases@2023-08-15' existing = {
  parent: cluster
  name: databaseName
}

resource connection 'Microsoft.Kusto/clusters/databases/dataConnections@2023-08-15' = {
  parent: database
  name: 'forwarder'
  location: cluster.location
  kind: 'EventHub'
  properties: {
    eventHubResourceId: eventHubId
    consumerGroup: consumerGroupName
    managedIdentityResourceId: cluster.id
    tableName: 'Events'
    mappingRuleName: 'Forwarder'
    dataFormat: 'JSON'
    compression: 'None'
    databaseRouting: 'Single'
    eventSystemProperties: [
      'x-opt-enqueued-time'
      'x-opt-sequence-number'
    ]
    retrievalStartDate: empty(readFrom) ? null : readFrom
  }
}
