"""Convergence on boto3: read what is there, compare what we manage, write the difference, say what changed.

`core` knows no service. Every other file holds the resources of one service, each as a frozen description.
"""
