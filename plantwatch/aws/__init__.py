"""The adapters behind `plantwatch.ports`: every call to AWS that a runtime makes, and no other code makes any."""
