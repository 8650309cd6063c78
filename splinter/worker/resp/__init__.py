"""The Redis protocol: connections over TCP, served by the worker's own loop (``docs/internals/redis.md``)."""
