// Publishes three events with amqplib, as programs do; AMQP_URL and EXCHANGE say where.
const amqp = require("amqplib");

const body = (topic) => Buffer.from(`{"from": "${topic}", "ü": 1.0}`);

async function main() {
  const connection = await amqp.connect(process.env.AMQP_URL);
  const channel = await connection.createConfirmChannel();
  const exchange = process.env.EXCHANGE;
  channel.publish(exchange, "client.plain", body("client.plain"));
  channel.publish(exchange, "routing.key", body("client.full"), {
    messageId: "node-1",
    type: "client.full",
    contentType: "application/json",
    contentEncoding: "utf-8",
    persistent: true,
    priority: 5,
    correlationId: "c",
    replyTo: "somewhere",
    expiration: 600000,
    timestamp: 1700000000,
    appId: "test",
    headers: { text: "ü", int: 2 ** 40, float: 0.5, list: [1, null, { a: true }], date: { "!": "timestamp", value: 1 } },
  });
  channel.publish(exchange, "routing.key", body("com.example.cloud"), {
    headers: {
      "cloudEvents_id": "cloud-1",
      "cloudEvents_type": "com.example.cloud",
      "cloudEvents_source": "/test",
      "cloudEvents_specversion": "1.0",
    },
    mandatory: true,
  });
  await channel.waitForConfirms();
  await connection.close();
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
