"""The server as it is shipped, in a process of its own, over real sockets."""
