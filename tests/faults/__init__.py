"""What fails at any one place: right answers or 503, nothing half done, and all is well again afterwards."""
