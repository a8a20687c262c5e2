"""What happens inside of a job."""
