// Microsoft's client for JavaScript, unchanged, told by lines of JSON what to do; see javascript.py.
import { createInterface } from "node:readline";
import {
  EventHubBufferedProducerClient,
  EventHubConsumerClient,
  EventHubProducerClient,
} from "@azure/event-hubs";

const WITHIN_MS = 10_000;
const opened = new Map();

// A wait between tries of the client's own would be half a minute.
function retries(timeoutInMs = 5_000) {
  return { retryOptions: { retryDelayInMs: 50, maxRetries: 5, timeoutInMs } };
}

// With retries an error is those of all tries.
function codeOf(error) {
  return error.errors?.[0]?.code ?? error.code ?? String(error);
}

async function until(fact) {
  const end = Date.now() + WITHIN_MS;
  while (!fact() && Date.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function within(promise) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve("late"), WITHIN_MS);
    promise.then(
      () => (clearTimeout(timer), resolve("closed")),
      (error) => (clearTimeout(timer), resolve(String(error))),
    );
  });
}

const ACTS = {
  producer: ({ name, hub, timeoutInMs }) => {
    opened.set(name, new EventHubProducerClient(hub, retries(timeoutInMs)));
  },
  buffered: ({ name, hub }) => {
    const onSendEventsErrorHandler = (context) => process.stderr.write(`${context.error}\n`);
    opened.set(name, new EventHubBufferedProducerClient(hub, { ...retries(), onSendEventsErrorHandler }));
  },
  consumer: ({ name, hub }) => {
    opened.set(name, new EventHubConsumerClient("$Default", hub, retries()));
  },
  properties: async ({ client }) => {
    const of = opened.get(client);
    const { name, partitionIds } = await of.getEventHubProperties();
    const partitions = await Promise.all(partitionIds.map((id) => of.getPartitionProperties(id)));
    return { name, partitions };
  },
  createBatch: async ({ client }) => ({ limit: (await opened.get(client).createBatch()).maxSizeInBytes }),
  send: async ({ client, events, to = {}, limit }) => {
    const batch = await opened.get(client).createBatch({ ...to, maxSizeInBytes: limit });
    const fit = events.map((event) => batch.tryAdd(event));
    await opened.get(client).sendBatch(batch);
    return { fit };
  },
  enqueue: async ({ client, events }) => {
    await opened.get(client).enqueueEvents(events);
  },
  subscribe: ({ name, client, partition, from, level }) => {
    const heard = [];
    const errors = [];
    const handlers = {
      processEvents: async (events, context) => {
        heard.push(...events.map((event) => ({ ...event, partition: context.partitionId })));
      },
      processError: async (error) => {
        errors.push(codeOf(error));
      },
    };
    const options = { startPosition: from, ownerLevel: level, maxWaitTimeInSeconds: 0.2 };
    const of = opened.get(client);
    const subscription =
      partition === undefined
        ? of.subscribe(handlers, options)
        : of.subscribe(partition, handlers, options);
    opened.set(name, { close: () => subscription.close(), heard, errors });
  },
  heard: async ({ name, count = 0, errors = 0 }) => {
    const of = opened.get(name);
    await until(() => of.heard.length >= count && of.errors.length >= errors);
    return { events: of.heard, errors: of.errors };
  },
  close: async ({ names }) => {
    const outcomes = await Promise.all(names.map((name) => within(opened.get(name).close())));
    return Object.fromEntries(names.map((name, index) => [name, outcomes[index]]));
  },
  sockets: async () => {
    const sockets = () => process.getActiveResourcesInfo().filter((kind) => kind === "TCPSocketWrap");
    await until(() => sockets().length === 0);
    return { open: sockets().length };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { act, ...said } = JSON.parse(line);
  let answer;
  try {
    answer = (await ACTS[act](said)) ?? {};
  } catch (error) {
    answer = { failed: codeOf(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
