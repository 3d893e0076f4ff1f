"""The lab: what is done to the running system to learn what it does."""
