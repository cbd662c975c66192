"""Real processes, real bytes: what the end-to-end tests stand on."""
