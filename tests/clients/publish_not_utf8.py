"""Publishes one event whose message id is not UTF-8; AMQP_URL and EXCHANGE say where."""

import os

import pika

connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.confirm_delivery()
channel.basic_publish(
    os.environ["EXCHANGE"], "t", "{}", pika.BasicProperties(message_id="Gr\xfc\xdfe".encode("latin-1"))
)
connection.close()
