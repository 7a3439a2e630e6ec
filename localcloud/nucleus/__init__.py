"""A stand-in Greengrass nucleus: the real `awsiot.greengrasscoreipc` client runs against it unmodified.

It speaks the nucleus's wire format on a Unix socket, checks the access control of the recipes, forwards to IoT Core
over real MQTT with mutual TLS, and launches components with the environment that the nucleus gives them.
"""
