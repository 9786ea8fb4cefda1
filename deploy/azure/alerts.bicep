// Alert rules on the forwarder's log lines. Each is stateful: it fires once, and resolves by itself.
// The queries are those of docs/logs.md; each gives a row for what is wrong. Each rule has its section in docs/runbook.md.

@description('Name of the Application Insights resource that the app logs to, in this resource group.')
param applicationInsightsName string

@description('Ids of action groups that are told; none: alerts are shown in the portal only.')
param actionGroupIds array = []

@description('Region of the rules.')
param location string = resourceGroup().location

@description('What the names of the rules begin with.')
param prefix string = 'microshare-forwarder'

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

var rules = [
  {
    name: 'no-data'
    severity: 1
    description: 'No hub got a reading of a feed for hours: the source is silent, or nothing runs.'
    query: loadTextContent('queries/no-data.kql')
    window: 'P1D'
    dimensions: ['feed']
  }
  {
    name: 'failing'
    severity: 1
    description: 'No run of a feed has succeeded for an hour (snapshots: three).'
    query: loadTextContent('queries/failing.kql')
    window: 'P1D'
    dimensions: ['feed']
  }
  {
    name: 'behind'
    severity: 2
    description: 'A hub is more than an hour behind (snapshots: three).'
    query: loadTextContent('queries/behind.kql')
    window: 'PT6H'
    dimensions: ['feed', 'hub']
  }
  {
    name: 'quarantine'
    severity: 3
    description: 'Readings were set aside that a hub cannot take; see quarantine list.'
    query: loadTextContent('queries/quarantine.kql')
    window: 'PT30M'
    dimensions: ['feed']
  }
  {
    name: 'settings'
    severity: 1
    description: 'The settings are refused: nothing is asked or sent.'
    query: loadTextContent('queries/settings.kql')
    window: 'PT2H'
    dimensions: ['feed']
  }
  {
    name: 'poison'
    severity: 2
    description: 'With SCALE_OUT=queue: more than three instances were killed in an hour while they ran a shard.'
    query: loadTextContent('queries/poison.kql')
    window: 'PT1H'
    dimensions: ['queue']
  }
]

resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for rule in rules: {
  name: '${prefix}-${rule.name}'
  location: location
  kind: 'LogAlert'
  properties: {
    displayName: '${prefix}: ${rule.name}'
    description: '${rule.description} What to do: docs/runbook.md#${rule.name}'
    severity: rule.severity
    enabled: true
    scopes: [insights.id]
    evaluationFrequency: 'PT15M'
    windowSize: rule.window
    criteria: {
      allOf: [
        {
          query: rule.query
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          dimensions: map(rule.dimensions, dimension => {
            name: dimension
            operator: 'Include'
            values: ['*']
          })
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    // A resource that was made a moment ago has no table to ask yet.
    skipQueryValidation: true
    actions: {
      actionGroups: actionGroupIds
    }
  }
}]
