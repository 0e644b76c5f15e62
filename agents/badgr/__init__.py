"""Event prediction that a robot learns from its own experience, and plans with (BADGR; Kahn et al. 2020)."""
