"""Others' suites for Redis against a server that speaks its protocol: what ``scripts/redis-suites`` runs."""
