"""What runs inside a job: the node supervisor, its members and slots, stop requests, requeueing."""
