"""Labelling sessions: people answer in the browser while a policy trains."""
