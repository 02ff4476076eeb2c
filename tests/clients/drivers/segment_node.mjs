// Sends events with @segment/analytics-node, and says what it said of each.
import { createRequire } from "node:module";

const { Analytics } = createRequire(`${process.cwd()}/`)("@segment/analytics-node");
const options = JSON.parse(process.argv[2]);

const client = new Analytics({
  writeKey: "write-key",
  host: options.url,
  httpRequestTimeout: options.timeout * 1000,
  maxRetries: options.retries,
  flushAt: options.group,
  flushInterval: 100,
});
client.on("error", () => {}); // told to each event's callback as well
const outcomes = {};
for (let number = 0; number < options.count; number += 1) {
  const event = `event-${number}`;
  client.track({ userId: "user", event, properties: { number } }, (error) => {
    outcomes[event] = error ? String(error) : "ok";
  });
}
await client.closeAndFlush({ timeout: 60_000 });
console.log(JSON.stringify(outcomes));
