"""What is asked for: experiment files, and the folders that they lead to."""
