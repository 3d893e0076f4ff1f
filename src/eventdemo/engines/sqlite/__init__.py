"""The embedded engine: everything in SQLite files of one folder, nothing to install."""
