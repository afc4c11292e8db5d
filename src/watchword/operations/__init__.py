"""What an operator can do, once, for admin API, console and command line alike."""
