"""Numbers over images, prompts and templates: which wording sees best, by how much, and why."""
