// A virtual network for the app and for private endpoints, where none is there to be used, and the zones in which the
// names of what is behind the endpoints are found.

@description('Name of the virtual network.')
param name string

@description('Region of the virtual network.')
param location string

@description('Tags of all that is made here.')
param tags object

@description('Whether the virtual network is made; otherwise only zones are.')
param makeNetwork bool

@description('Its addresses, at least a /26: half of them are the app\'s, half the endpoints\'.')
param addressPrefix string

@description('Whether what the app asks outside leaves by a NAT gateway, with one address of its own.')
param makeNatGateway bool

@description('Id of the virtual network from which names are looked up.')
param networkId string

@description('Names of the private DNS zones to make.')
param zoneNames array

resource outboundAddress 'Microsoft.Network/publicIPAddresses@2024-05-01' = if (makeNetwork && makeNatGateway) {
  name: '${name}-outbound'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIPAllocationMethod: 'Static'
  }
}

resource natGateway 'Microsoft.Network/natGateways@2024-05-01' = if (makeNetwork && makeNatGateway) {
  name: '${name}-outbound'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIpAddresses: [
      {
        id: outboundAddress.id
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = if (makeNetwork) {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [addressPrefix]
    }
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 27, 0)
          natGateway: makeNatGateway ? { id: natGateway.id } : null
          delegations: [
            {
              name: 'app'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 27, 1)
          privateEndpointNetworkPolicies: 'Disabled'
        }
      }
    ]
  }
}

resource zones 'Microsoft.Network/privateDnsZones@2020-06-01' = [for zone in zoneNames: {
  name: zone
  location: 'global'
  tags: tags
}]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2020-06-01' = [for (zone, index) in zoneNames: {
  parent: zones[index]
  name: name
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: networkId
    }
  }
  dependsOn: [network]
}]
