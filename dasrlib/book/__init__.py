"""What turns a checkout into the published book; it needs the repository, not only the package."""
