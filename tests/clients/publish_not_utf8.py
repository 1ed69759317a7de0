"""Publishes events that are not what AMQP says, one for each way; AMQP_URL and EXCHANGE say where.

Prints how many the broker took. What pika would not write is written past it.
"""

import os
import struct

import pika
import pika.data


class Raw(bytes):
    """A value of a header as it is on the wire, its type included."""


encode_value = pika.data.encode_value


def encode(pieces, value):
    if not isinstance(value, Raw):
        return encode_value(pieces, value)
    pieces.append(bytes(value))
    return len(value)


pika.data.encode_value = encode


def nested(levels):
    value = b"V"
    for _ in range(levels):
        value = b"A" + struct.pack(">I", len(value)) + value
    return Raw(value)


NOT_UTF8 = "Grüße".encode("latin-1")
WAYS = [
    ("t", {"message_id": NOT_UTF8}),
    ("t", {"message_id": b"\xff\xfe1"}),
    ("t", {"type": NOT_UTF8}),
    ("t", {"content_type": NOT_UTF8}),
    ("t", {"content_encoding": NOT_UTF8}),
    ("t", {"correlation_id": NOT_UTF8}),
    ("t", {"reply_to": NOT_UTF8}),
    ("t", {"app_id": NOT_UTF8}),
    (NOT_UTF8, {}),
    ("t", {"headers": {NOT_UTF8: 1}}),
    ("t", {"headers": {"deep": {NOT_UTF8: 1}}}),
    ("t", {"headers": {"list": [{NOT_UTF8: 1}]}}),
]
# Whatever these are, they are events.
EVENTS = [
    ("t", {"headers": {"text": Raw(b"S\0\0\0\1\xff"), "bytes": NOT_UTF8}}),
    ("t", {"headers": {"nested": nested(20_000)}}),
]

connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.confirm_delivery()
for key, properties in WAYS + EVENTS:
    channel.basic_publish(
        os.environ["EXCHANGE"], key, "{}", pika.BasicProperties(delivery_mode=2, **properties)
    )
connection.close()
print(len(WAYS), len(EVENTS))
