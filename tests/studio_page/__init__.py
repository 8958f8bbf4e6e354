"""The studio in a browser, driven as a person would: the real server, the real churches, the real faces."""
