"""What has become of runs, and what to do about them."""
