"""The comparison: its contenders, the servers they need, and the checks that keep it fair."""
