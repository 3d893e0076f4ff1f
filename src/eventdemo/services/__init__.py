"""The boxes of the flow, one file each: pure functions that import nothing but facts and ids."""
