// Makes charges and payment intents with stripe for Node, and says what it said of each.
import { createRequire } from "node:module";

const Stripe = createRequire(`${process.cwd()}/`)("stripe");
const options = JSON.parse(process.argv[2]);

const { protocol, hostname, port } = new URL(options.url);
const client = new Stripe("sk_test_key", {
  protocol: protocol.slice(0, -1),
  host: hostname,
  port,
  telemetry: false,
  maxNetworkRetries: options.retries,
  timeout: options.timeout * 1000,
});

async function pay(number) {
  const service = [client.charges, client.paymentIntents][number % 2];
  const name = `order-${number}`;
  const params = { amount: 1000 + number, currency: "eur", metadata: { order: name } };
  try {
    const made = await service.create(params);
    return [name, made.id === name ? "ok" : `not a payment: ${JSON.stringify(made)}`];
  } catch (error) {
    return [name, `${error.type} ${error.statusCode}: ${error.message}`];
  }
}

const numbers = Array.from({ length: options.count }, (_, number) => number);
console.log(JSON.stringify(Object.fromEntries(await Promise.all(numbers.map(pay)))));
process.exit(0); // its agent keeps connections open
