"""The lab's instruments: what they say has to be true before it says anything of the system."""
