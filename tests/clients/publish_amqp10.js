// Publishes with rhea, as programs that speak AMQP 1.0 do; AMQP_URL and EXCHANGE say where. Routing keys are ids and
// name the messages. With PLUGIN=yes as the plugin of RabbitMQ 3 takes it: by the address that it knows, without values that
// are lists and delivery annotations, for which it ends the connection, and without ids that are numbers, of which
// the broker makes messages that end the connection of every consumer of AMQP 0-9-1.
const rhea = require("rhea");
const { message, types } = rhea;

const broker = new URL(process.env.AMQP_URL);
const exchange = encodeURIComponent(process.env.EXCHANGE);
const isPlugin = process.env.PLUGIN === "yes";
const address = (key) => `/${isPlugin ? "exchange" : "exchanges"}/${exchange}/${key}`;

const json = (key) => `{"from":"${key}","ü":1.0}`;
const bytes = (key) => Buffer.from(json(key));
const event = (key, body, further) => ({ key, message: { message_id: key, durable: true, body, ...further } });

const messages = [
  event("value.text", json("value.text")),
  event("value.long-text", `{"long":"${"x".repeat(300)}"}`),
  event("value.binary", types.wrap_binary(bytes("value.binary"))),
  event("data.one", message.data_section(bytes("data.one"))),
  event("data.two", message.data_sections([Buffer.from('{"from":'), Buffer.from('"data.two"}')])),
  event("full", message.data_section(bytes("full")), {
    content_type: "application/vnd.test+json",
    correlation_id: "c-1",
    reply_to: "somewhere",
    subject: "a.subject",
    user_id: Buffer.from("guest"),
    priority: 5,
    ttl: 600000,
    creation_time: 1700000000000,
    group_id: "g",
    application_properties: {
      text: "ü",
      long: types.wrap_long(2 ** 40),
      truth: true,
      float: types.wrap_double(0.5),
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    },
    message_annotations: { "x-opt-own": "kept" },
    delivery_annotations: isPlugin ? undefined : { "x-opt-way": 1 },
  }),
  event("id.uuid", json("id.uuid"), { message_id: types.wrap_uuid(Buffer.alloc(16, 0xf7)) }),
  ...(isPlugin ? [] : [event("id.number", json("id.number"), { message_id: types.wrap_ulong(7) })]),
  event("id.binary", json("id.binary"), { message_id: types.wrap_binary(Buffer.from([0xff, 0xfe, 1])) }),
  event("value.map", { from: "value.map" }),
  ...(isPlugin ? [] : [event("value.list", [1, 2])]),
  event("value.array", types.wrap_array([1, 2], 0x71)),
  event("value.number", types.wrap_long(7)),
  event("value.null", null),
  event("sequence.one", message.sequence_section([1, "two"])),
  event("sequence.two", message.sequence_sections([[1], [2]])),
];

const connection = rhea.connect({
  host: broker.hostname,
  port: broker.port,
  username: decodeURIComponent(broker.username),
  password: decodeURIComponent(broker.password),
  reconnect: false,
});
let settled = 0;
const failed = (context) => {
  const { connection: at, session, sender, delivery } = context;
  const error = [delivery && delivery.remote_state, sender && sender.error, session && session.error, at && at.error];
  console.error(error.find(Boolean) || context);
  process.exit(1);
};
for (const name of ["rejected", "released", "modified", "sender_error", "session_error", "connection_error", "disconnected"]) {
  rhea.on(name, (context) => settled < messages.length && failed(context));
}
rhea.on("accepted", () => {
  settled += 1;
  if (settled === messages.length) connection.close();
});
for (const { key, message } of messages) {
  const sender = connection.open_sender({ target: { address: address(key), durable: 2 } });
  sender.once("sendable", () => sender.send(message));
}
