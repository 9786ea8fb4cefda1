// A private endpoint, and its record in a private DNS zone.

@description('Name of the endpoint.')
param name string

@description('Region of the endpoint: that of its subnet.')
param location string

@description('Tags of the endpoint.')
param tags object

@description('Id of the subnet.')
param subnetId string

@description('Id of what is behind the endpoint.')
param targetId string

@description('Which of its services: blob, queue, table, namespace, sites.')
param group string

@description('Id of the zone that gets its record; empty: a policy or a person makes it.')
param zoneId string

resource endpoint 'Microsoft.Network/privateEndpoints@2024-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    subnet: {
      id: subnetId
    }
    privateLinkServiceConnections: [
      {
        name: group
        properties: {
          privateLinkServiceId: targetId
          groupIds: [group]
        }
      }
    ]
  }
}

resource record 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = if (!empty(zoneId)) {
  parent: endpoint
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: group
        properties: {
          privateDnsZoneId: zoneId
        }
      }
    ]
  }
}
