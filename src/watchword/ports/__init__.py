"""What watchword needs from the world: Protocols and frozen records."""
