// Sends events with @rudderstack/rudder-sdk-node, and says what it said of each.
import { createRequire } from "node:module";

const Analytics = createRequire(`${process.cwd()}/`)("@rudderstack/rudder-sdk-node");
const options = JSON.parse(process.argv[2]);

const client = new Analytics("write-key", {
  dataPlaneUrl: options.url,
  gzip: options.gzip,
  retryCount: options.retries,
  timeout: options.timeout * 1000,
  flushAt: options.group,
  flushInterval: 100,
  logLevel: "none",
  errorHandler: () => {}, // told to each event's callback as well
  ...options.extra,
});
const outcomes = {};
const events = Array.from({ length: options.count }, (_, number) => {
  const event = `event-${number}`;
  return new Promise((told) => {
    client.track({ userId: "user", event, properties: { number } }, (error) => {
      outcomes[event] = error ? String(error) : "ok";
      told();
    });
  });
});
await Promise.all(events);
console.log(JSON.stringify(outcomes));
