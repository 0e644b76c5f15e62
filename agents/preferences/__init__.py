"""Preference-based reward learning (Christiano et al. 2017)."""
