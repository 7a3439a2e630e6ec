"""Functions of small tenants and of what happens now and then: each a folder, each a zip of its own."""
