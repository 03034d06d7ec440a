"""The Code of Practice's Model Documentation Form, the documentation that annexes XI and XII of the AI Act list."""
