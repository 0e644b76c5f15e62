"""Learners and deciders: policies on stable-baselines3, rewards learnt from comparisons."""
