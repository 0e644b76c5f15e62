"""The body that runs an agent: configuration, safety rules, and what this machine can do."""
