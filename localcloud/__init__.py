"""The laptop edition: two emulated regions and what lies between them. For development only; nothing imports it."""
