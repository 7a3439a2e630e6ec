"""Greengrass component: scores local readings, keeps them in one durable queue, and sends them to two regions.

local topics --> sources --> worker: number, Pipeline.watch, envelope --> spool --+--> leg "primary", through IPC
                                                                                  '--> leg "dr", own MQTT connection
"""
