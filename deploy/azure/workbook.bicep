// The workbook of the forwarder, next to its Application Insights resource.

@description('Name of the Application Insights resource that the app logs to, in this resource group.')
param applicationInsightsName string

@description('Region of the workbook.')
param location string = resourceGroup().location

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

resource workbook 'Microsoft.Insights/workbooks@2022-04-01' = {
  name: guid(resourceGroup().id, 'microshare-forwarder')
  location: location
  kind: 'shared'
  properties: {
    displayName: 'Microshare forwarder'
    category: 'workbook'
    sourceId: insights.id
    serializedData: loadTextContent('workbook.json')
  }
}
