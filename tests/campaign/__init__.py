"""Campaigns of many made-up inputs; `python -m tests.campaign.fuzz N SEED` runs the one that reads files."""
