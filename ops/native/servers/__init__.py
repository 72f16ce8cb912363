"""Private PostgreSQL, Redis, RabbitMQ, mail catcher and object store, each with its own data folder and loopback port.

The runtime hands their commands to supervisord; tests start them directly in a temporary folder.
"""
