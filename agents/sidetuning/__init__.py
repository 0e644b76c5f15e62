"""Side-tuning: a frozen base, a small side network a task, and the rivals behind the same face."""
