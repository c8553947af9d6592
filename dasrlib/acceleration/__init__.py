"""What makes it quick: each part has a plain definition elsewhere that says what is right."""
