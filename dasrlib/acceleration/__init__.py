"""What makes it fast; each fast way is tested against a plain definition."""
