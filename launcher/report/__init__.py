"""What runs have come to, side by side: a table, curves, and a page that needs no server."""
