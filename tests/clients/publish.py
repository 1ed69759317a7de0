"""Publishes three events with pika, as programs do; AMQP_URL and EXCHANGE say where."""

import os
import uuid

import pika

connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.confirm_delivery()
exchange = os.environ["EXCHANGE"]


def body(topic):
    return '{"from": "%s", "ü": 1.0}' % topic


channel.basic_publish(exchange, "client.plain", body("client.plain"))
channel.basic_publish(
    exchange,
    "routing.key",
    body("client.full"),
    pika.BasicProperties(
        message_id=str(uuid.uuid4()),
        type="client.full",
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=2,
        priority=5,
        correlation_id="c",
        reply_to="somewhere",
        expiration="600000",
        timestamp=1700000000,
        app_id="test",
        headers={"text": "ü", "int": 2**40, "list": [1, None, {"a": True}], "bytes": b"\x00"},
    ),
)
channel.basic_publish(
    exchange,
    "routing.key",
    body("com.example.cloud"),
    pika.BasicProperties(
        content_type="application/json",
        headers={
            "cloudEvents:id": "cloud-1",
            "cloudEvents:type": "com.example.cloud",
            "cloudEvents:source": "/test",
            "cloudEvents:specversion": "1.0",
        },
    ),
    mandatory=True,
)
connection.close()
